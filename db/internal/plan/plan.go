// Package plan finds where a query looks: ranges of documents by _id, single _ids,
// ranges of an index, or a union of several; their order, and what each would cost.
//
// Whatever an access finds is tested by the whole filter, so that a plan is never
// wrong, only slow: it must hold every document that matches. docs/design/plan.md.
//
//	filter {country: "JP", n: {$gte: 5}}, sort {n: 1}, index 6 on {country: 1, n: 1}
//	bounds   country ["JP", "JP"], n [5, Infinity)     by conjuncts of the filter
//	range    i 06 "JP" 5 … i 06 "JP" (after numbers)   one, for country is a point
//	order    whole: country is constant, and n comes next
//	price    keys · 0.5 + documents · 6, of the keys that are there
//
//	Planner ─► onID, onIndex, unions     candidates: Access
//	 ├──► choose ─► price, count         the cheapest first, by counting
//	 └──► Overtaken                      another, when what was chosen by a guess costs more
package plan

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/store"
)

// An Access is where a query looks: ranges of documents by _id, single _ids,
// ranges of an index, or a union of several. Whatever it finds is tested by the
// whole filter.
type Access struct {
	Index   *keyspace.Index // nil: by _id
	Streams [][]store.Range // ranges in the order of the walk; several streams are merged
	Ids     [][]byte        // keys of single _ids, in order, instead of streams; not nil if there are none
	Parts   []*Access       // of a union, which has nothing else

	Base    int     // bytes of an index key before its values
	Fixed   int     // leading fields that each stream has one value of
	Bounds  []Bound // of the fields of the index; those after the ranges are checked on keys
	Checked int     // the first field to be checked on keys; the number of fields if none
	Reverse bool
	Order   order // how it serves the sort
	Exact   bool  // exactly the documents in it match
	Once    bool  // no document is in it twice

	Keys, Docs float64 // once estimated: keys walked, documents read
	Cost       float64 // in documents scanned; of a loser, what it costs at least
	tally      tally
}

const (
	maxRanges   = 1000   // that the points of an index become
	maxIn       = 10_000 // values of a $in that are looked up
	maxMerged   = 32     // streams
	maxBranches = 64     // of a union
	maxUnion    = 64 << 10
)

// A Planner finds the accesses of one query and what each would cost.
type Planner struct {
	V       *view.View
	C       *keyspace.Coll
	Filter  *query.Filter
	Raw     bson.Raw          // the filter
	Sort    []query.SortField // nil: any order will do
	cons    []query.Conjunct
	Want    int64 // documents wanted; 0 means all
	Count   bool  // only their number
	NoIndex bool
	Stop    func() error // asked while keys are counted; nil: never
	Total   float64      // documents of the collection
	Found   []*Access    // candidates, the best first once planned
}

// Plan returns the cheapest access.
func (p *Planner) Plan(hint *hint) (*Access, error) {
	p.Total = float64(max(1, p.V.Stats[p.C.Num].Docs))
	if p.Filter != nil {
		p.cons = p.Filter.Conjuncts()
	}
	if hint != nil {
		return p.hinted(hint)
	}
	byID := p.onID()
	p.Found = append(p.Found, byID)
	if byID.Ids == nil && !p.NoIndex {
		for _, x := range p.C.Indexes {
			p.Found = append(p.Found, p.onIndex(x, p.cons, false)...)
		}
		unions, err := p.unions()
		if err != nil {
			return nil, err
		}
		p.Found = append(p.Found, unions...)
	}
	return p.best()
}

// best returns the cheapest of the candidates.
func (p *Planner) best() (*Access, error) {
	if len(p.Found) > 1 {
		if err := p.choose(); err != nil {
			return nil, err
		}
	}
	return p.Found[0], nil
}

// onID is the access by _id: the whole collection, unless the filter says more. _id is no
// array, so all conditions on it count at once (multi is false).
func (p *Planner) onID() *Access {
	docs := p.V.Space.Key(keyspace.TagDoc, keyspace.Num(p.C.Num))
	a := &Access{Base: len(docs), Once: true}
	b, _ := boundOf(p.cons, "_id", false, false, 0)
	a.Bounds = []Bound{b}
	switch {
	case b.points():
		a.Ids = [][]byte{}
		for _, i := range b.In {
			a.Ids = append(a.Ids, i.lo)
		}
	case b.Known():
		a.Streams = [][]store.Range{rangesOf([][]byte{docs}, b.In)}
	default:
		a.Streams = [][]store.Range{{store.Prefix(docs)}}
	}
	a.Order = orderOf(p.Sort, []keyspace.IndexKey{{Path: "_id"}}, nil)
	a.Reverse = a.Order.reverse
	if a.Reverse {
		slices.Reverse(a.Ids)
		a.turn()
	}
	return a
}

// rangesOf returns the ranges of the intervals after each prefix.
func rangesOf(prefixes [][]byte, in []Interval) (out []store.Range) {
	for _, p := range prefixes {
		for _, i := range in {
			r := store.Range{Lower: slices.Concat(p, i.lo), Upper: store.PrefixEnd(p)}
			if i.hi != nil {
				r.Upper = slices.Concat(p, i.hi)
			}
			out = append(out, r)
		}
	}
	return out
}

// turn makes the ranges those of a walk backward: the last one first, each from its end.
func (a *Access) turn() {
	for _, s := range a.Streams {
		slices.Reverse(s)
		for i := range s {
			s[i].Reverse = true
		}
	}
}

// onIndex returns the accesses by x: none if it helps nothing or might lack
// documents; several if only one of several conditions on a field can count.
func (p *Planner) onIndex(x *keyspace.Index, cons []query.Conjunct, hinted bool) (out []*Access) {
	if !p.Usable(x, cons) {
		return nil
	}
	multi := x.Multi.Load() || keyspace.NumericPath(x.Keys)
	_, n := boundOf(cons, x.Keys[0].Path, x.Keys[0].Desc, multi, 0)
	for pick := range max(1, min(n, 4)) {
		a := p.walkOf(x, cons, multi, pick)
		if hinted || a.Bounds[0].Known() || a.Order.Fields > 0 || a.Order.Whole || x.Partial != nil {
			out = append(out, a)
		}
	}
	return out
}

// walkOf returns the access by x whose first field takes the condition pick.
//
// Leading fields that have points become prefixes, one for each combination; the field
// after them may have intervals, which become ranges; what comes after is checked on keys
// (Checked), because a range holds all its values.
//
//	index {a, b, c}, filter a in [1, 2], b > 5, c = 7
//	prefixes  1 · 2        ranges  1 (5, …) · 2 (5, …)        checked on keys: c
func (p *Planner) walkOf(x *keyspace.Index, cons []query.Conjunct, multi bool, pick int) *Access {
	base := p.V.Space.Key(keyspace.TagIndex, keyspace.Num(x.Num))
	a := &Access{Index: x, Base: len(base), Bounds: make([]Bound, len(x.Keys))}
	used := 0
	for i, k := range x.Keys {
		a.Bounds[i], _ = boundOf(cons, k.Path, k.Desc, multi, pick)
		used += a.Bounds[i].used
	}
	prefixes := [][]byte{base}
	single := make([]bool, len(x.Keys)) // fields of one value
	for ; a.Fixed < len(x.Keys); a.Fixed++ {
		b := &a.Bounds[a.Fixed]
		if !b.points() || len(prefixes)*len(b.In) > maxRanges {
			break
		}
		var next [][]byte
		for _, p := range prefixes {
			for _, i := range b.In {
				next = append(next, slices.Concat(p, i.lo))
			}
		}
		prefixes, single[a.Fixed] = next, len(b.In) == 1
	}
	in := []Interval{{}}
	a.Checked = a.Fixed
	if a.Fixed < len(x.Keys) && a.Bounds[a.Fixed].Known() && len(prefixes)*len(a.Bounds[a.Fixed].In) <= maxRanges {
		in = a.Bounds[a.Fixed].In
		a.Checked++
	}
	all := rangesOf(prefixes, in)
	a.Streams = [][]store.Range{all}
	// Exact needs every condition of the filter to be one that the ranges and the checks
	// hold all of; then a count reads no document.
	a.Exact = !multi && p.Filter.Tree().Comparisons() == len(cons) && used == len(cons) && p.Filter != nil
	a.Once = !multi || a.Fixed == len(x.Keys) && len(all) <= 1
	if !multi {
		a.setOrder(p.Sort, single, all, len(in))
	}
	return a
}

// setOrder finds the order of the sort in an index, if need be by merging the
// ranges of single values: a in [1, 2] with the sort b is two walks, each in the order of
// b. An array has a document in two places, so that an index with arrays
// serves no sort.
func (a *Access) setOrder(sort []query.SortField, single []bool, all []store.Range, each int) {
	if len(sort) == 0 {
		return
	}
	a.Order = orderOf(sort, a.Index.Keys, single)
	if n := len(all) / max(1, each); !a.Order.Whole && n > 1 && n <= maxMerged {
		fixed := slices.Clone(single)
		for i := range a.Fixed {
			fixed[i] = true
		}
		// A field of several values is no constant of the sort.
		if o := orderAfter(sort, a.Index.Keys, fixed, single); o.Whole {
			a.Order = o
			a.Streams = nil
			for i := 0; i < len(all); i += each {
				a.Streams = append(a.Streams, all[i:i+each])
			}
		}
	}
	if a.Reverse = a.Order.reverse; a.Reverse {
		a.turn()
	}
}

// Usable reports whether x holds all documents that match. If it may lack one, it is
// never used, whatever it would save.
func (p *Planner) Usable(x *keyspace.Index, cons []query.Conjunct) bool {
	if !x.Ready || len(x.Keys) == 0 {
		return false
	}
	for _, k := range x.Keys {
		if k.Text || k.Path == "_mod" || strings.HasPrefix(k.Path, "_mod.") { // _mod is in no document
			return false
		}
	}
	if x.Sparse && !impliesSparse(cons, x.Keys) {
		return false
	}
	return x.Partial == nil || p.Filter.Tree().Implies(cons, x.Filter.Tree())
}

// unions returns an access for each $or of the filter whose branches all have
// an index.
func (p *Planner) unions() (out []*Access, err error) {
	if p.Filter == nil || len(p.Raw) > maxUnion {
		return nil, nil
	}
	for _, branches := range p.Filter.Tree().Disjunctions() {
		if len(branches) > maxBranches {
			continue
		}
		u := &Access{}
		for _, b := range branches {
			part, err := p.branch(append(b.Conjuncts(), p.cons...))
			if err != nil {
				return nil, err
			}
			if part == nil {
				u = nil
				break
			}
			u.Parts = append(u.Parts, part)
		}
		if u != nil {
			out = append(out, u)
		}
	}
	return out, nil
}

// branch returns the best access under the conditions of one branch of an $or, to which
// those beside the $or belong; nil if that is a scan.
func (p *Planner) branch(cons []query.Conjunct) (*Access, error) {
	q := &Planner{V: p.V, C: p.C, Filter: p.Filter, Raw: p.Raw, cons: cons, Total: p.Total, Stop: p.Stop}
	if a := q.onID(); a.Ids != nil {
		q.Found = append(q.Found, a)
	}
	for _, x := range p.C.Indexes {
		for _, a := range q.onIndex(x, cons, false) {
			if a.Bounds[0].Known() {
				a.Exact = false
				q.Found = append(q.Found, a)
			}
		}
	}
	if len(q.Found) == 0 {
		return nil, nil
	}
	return q.best()
}

// IDKeyOf takes the _id's key from an index key; ok is false if the values before
// it are not in the bounds that keys are checked against.
func (a *Access) IDKeyOf(key []byte) (idKey []byte, ok bool, err error) {
	rest := key[a.Base:]
	if a.Index.Text != nil {
		n := value.KeyLen(rest, false)
		return rest[max(n, 0):], n > 0, nil
	}
	ok = true
	for i, k := range a.Index.Keys {
		n := value.KeyLen(rest, k.Desc)
		if n <= 0 || n > len(rest) {
			return nil, false, keyspace.ErrCorrupt
		}
		if i >= a.Checked && a.Bounds[i].Known() {
			field := rest[:n]
			ok = ok && slices.ContainsFunc(a.Bounds[i].In, func(in Interval) bool { return in.has(field) })
		}
		rest = rest[n:]
	}
	return rest, ok, nil
}
