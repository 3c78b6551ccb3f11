package db

import (
	"math"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/store"
)

// An access is where a query looks: ranges of documents by _id, single _ids,
// ranges of an index, or a union of several. Whatever it finds is judged by the
// whole filter.
type access struct {
	index   *index          // nil: by _id
	streams [][]store.Range // ranges in the order of the walk; several streams are merged
	ids     [][]byte        // keys of single _ids, instead of streams
	parts   []*access       // of a union, which has nothing else

	base    int     // bytes of an index key before its values
	fixed   int     // leading fields that each stream has one value of
	bounds  []bound // of the fields of the index; those after the ranges are checked on keys
	checked int     // the first field to be checked on keys; the number of fields if none
	reverse bool
	order   order
	exact   bool // exactly the documents in it match
	once    bool // no document is in it twice

	keys, docs float64 // estimates: keys walked, documents read
	cost       float64 // in documents scanned
}

const (
	maxRanges   = 1000   // that the points of an index become
	maxIn       = 10_000 // values of a $in that are looked up
	maxMerged   = 32     // streams
	maxBranches = 64     // of a union
	maxUnion    = 64 << 10
)

// What it costs to look at a key and to fetch a document out of order, in
// documents scanned.
const (
	costKey   = 0.5
	costFetch = 6
	costSort  = 1
)

// A planner finds the accesses of one query and what each would cost.
type planner struct {
	db      *DB
	v       *view
	c       *coll
	filter  *query.Filter
	raw     bson.Raw // the filter
	sort    []query.SortField
	cons    []query.Conjunct
	want    int64 // documents wanted; 0 means all
	count   bool  // only their number
	noIndex bool
	total   float64   // documents of the collection
	found   []*access // candidates, the best first once planned
}

// plan returns the cheapest access.
func (p *planner) plan(hint *hint) (*access, error) {
	p.total = float64(max(1, p.v.stats[p.c.num].docs))
	if p.filter != nil {
		p.cons = p.filter.Conjuncts()
	}
	if hint != nil {
		return p.hinted(hint)
	}
	byID := p.onID()
	p.found = append(p.found, byID)
	if byID.ids == nil && !p.noIndex {
		for _, x := range p.c.indexes {
			p.found = append(p.found, p.onIndex(x, p.cons, false)...)
		}
		p.found = append(p.found, p.unions()...)
	}
	if len(p.found) > 1 {
		p.choose()
	}
	return p.found[0], nil
}

// choose estimates the candidates and puts the cheapest first.
func (p *planner) choose() {
	matches := p.total
	for _, a := range p.found {
		p.estimate(a)
		matches = min(matches, max(1, a.docs))
	}
	for _, a := range p.found {
		p.price(a, matches)
	}
	slices.SortStableFunc(p.found, func(a, b *access) int {
		switch {
		case a.cost < b.cost:
			return -1
		case a.cost > b.cost:
			return 1
		}
		return 0
	})
}

// price sets what a costs if about so many documents match.
func (p *planner) price(a *access, matches float64) {
	switch {
	case a.index == nil && a.parts == nil && a.ids == nil:
		a.cost = a.docs
	case p.count && a.exact:
		a.cost = a.keys * costKey
	default:
		a.cost = a.keys*costKey + a.docs*costFetch
	}
	if p.count {
		return
	}
	sorted := len(p.sort) == 0 || a.order.whole
	if !a.exact && p.filter != nil {
		matches *= 0.3
	}
	switch {
	case sorted && p.want > 0:
		a.cost *= min(1, float64(p.want)/max(1, matches))
	case a.order.fields > 0 && p.want > 0: // whole groups
		a.cost *= min(1, 2*math.Sqrt(float64(p.want)/max(1, matches)))
	case !sorted:
		a.cost += a.docs * costSort
	}
}

// onID is the access by _id: the whole collection, unless the filter says more.
func (p *planner) onID() *access {
	docs := p.db.key(tagDoc, num(p.c.num))
	a := &access{base: len(docs), once: true}
	b, _ := boundOf(p.cons, "_id", false, false, 0)
	a.bounds = []bound{b}
	switch {
	case b.points():
		a.ids = [][]byte{}
		for _, i := range b.in {
			a.ids = append(a.ids, i.lo)
		}
	case b.known():
		a.streams = [][]store.Range{rangesOf([][]byte{docs}, b.in)}
	default:
		a.streams = [][]store.Range{{store.Prefix(docs)}}
	}
	a.order = orderOf(p.sort, []IndexKey{{Path: "_id"}}, nil)
	a.reverse = a.order.reverse
	if a.reverse {
		slices.Reverse(a.ids)
		a.turn()
	}
	return a
}

// rangesOf returns the ranges of the intervals after each prefix.
func rangesOf(prefixes [][]byte, in []interval) (out []store.Range) {
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

// turn makes the ranges those of a walk backward.
func (a *access) turn() {
	for _, s := range a.streams {
		slices.Reverse(s)
		for i := range s {
			s[i].Reverse = true
		}
	}
}

// onIndex returns the accesses by x: none if it helps nothing or might lack
// documents; several if only one of several conditions on a field can count.
func (p *planner) onIndex(x *index, cons []query.Conjunct, hinted bool) (out []*access) {
	if !p.usable(x, cons) {
		return nil
	}
	multi := x.multi.Load() || numericPath(x.Keys)
	_, n := boundOf(cons, x.Keys[0].Path, x.Keys[0].Desc, multi, 0)
	for pick := range max(1, min(n, 4)) {
		a := p.walkOf(x, cons, multi, pick)
		if hinted || a.bounds[0].known() || a.order.fields > 0 || a.order.whole || x.Partial != nil {
			out = append(out, a)
		}
	}
	return out
}

// walkOf returns the access by x whose first field takes the condition pick.
func (p *planner) walkOf(x *index, cons []query.Conjunct, multi bool, pick int) *access {
	base := p.db.key(tagIndex, num(x.num))
	a := &access{index: x, base: len(base), bounds: make([]bound, len(x.Keys))}
	used := 0
	for i, k := range x.Keys {
		a.bounds[i], _ = boundOf(cons, k.Path, k.Desc, multi, pick)
		used += a.bounds[i].used
	}
	prefixes := [][]byte{base}
	single := make([]bool, len(x.Keys)) // fields of one value
	for ; a.fixed < len(x.Keys); a.fixed++ {
		b := &a.bounds[a.fixed]
		if !b.points() || len(prefixes)*len(b.in) > maxRanges {
			break
		}
		var next [][]byte
		for _, p := range prefixes {
			for _, i := range b.in {
				next = append(next, slices.Concat(p, i.lo))
			}
		}
		prefixes, single[a.fixed] = next, len(b.in) == 1
	}
	in := []interval{{}}
	a.checked = a.fixed
	if a.fixed < len(x.Keys) && a.bounds[a.fixed].known() && len(prefixes)*len(a.bounds[a.fixed].in) <= maxRanges {
		in = a.bounds[a.fixed].in
		a.checked++
	}
	all := rangesOf(prefixes, in)
	a.streams = [][]store.Range{all}
	a.exact = !multi && p.filter.Tree().Comparisons() == len(cons) && used == len(cons) && p.filter != nil
	a.once = !multi || a.fixed == len(x.Keys) && len(all) <= 1
	if !multi {
		a.setOrder(p.sort, single, all, len(in))
	}
	return a
}

// setOrder finds the order of the sort in an index, if need be by merging the
// ranges of single values.
func (a *access) setOrder(sort []query.SortField, single []bool, all []store.Range, each int) {
	if len(sort) == 0 {
		return
	}
	a.order = orderOf(sort, a.index.Keys, single)
	if n := len(all) / max(1, each); !a.order.whole && n > 1 && n <= maxMerged {
		fixed := slices.Clone(single)
		for i := range a.fixed {
			fixed[i] = true
		}
		// A field of several values is no constant of the sort.
		if o := orderAfter(sort, a.index.Keys, fixed, single); o.whole {
			a.order = o
			a.streams = nil
			for i := 0; i < len(all); i += each {
				a.streams = append(a.streams, all[i:i+each])
			}
		}
	}
	if a.reverse = a.order.reverse; a.reverse {
		a.turn()
	}
}

// usable reports whether x holds all documents that match.
func (p *planner) usable(x *index, cons []query.Conjunct) bool {
	if !x.ready || len(x.Keys) == 0 {
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
	return x.Partial == nil || p.filter.Tree().Implies(cons, x.filter.Tree())
}

// numericPath reports whether a path may name a place in an array.
func numericPath(keys []IndexKey) bool {
	for _, k := range keys {
		for p := range strings.SplitSeq(k.Path, ".") {
			if value.ParseIndex(p) >= 0 {
				return true
			}
		}
	}
	return false
}

// unions returns an access for each $or of the filter whose branches all have
// an index.
func (p *planner) unions() (out []*access) {
	if p.filter == nil || len(p.raw) > maxUnion {
		return nil
	}
	for _, branches := range p.filter.Tree().Disjunctions() {
		if len(branches) > maxBranches {
			continue
		}
		u := &access{}
		for _, b := range branches {
			part := p.branch(append(b.Conjuncts(), p.cons...))
			if part == nil {
				u = nil
				break
			}
			u.parts = append(u.parts, part)
		}
		if u != nil {
			out = append(out, u)
		}
	}
	return out
}

// branch returns the best access under the conditions of one branch; nil if
// that is a scan.
func (p *planner) branch(cons []query.Conjunct) *access {
	q := &planner{db: p.db, v: p.v, c: p.c, filter: p.filter, raw: p.raw, cons: cons, total: p.total}
	if a := q.onID(); a.ids != nil {
		q.found = append(q.found, a)
	}
	for _, x := range p.c.indexes {
		for _, a := range q.onIndex(x, cons, false) {
			if a.bounds[0].known() {
				a.exact = false
				q.found = append(q.found, a)
			}
		}
	}
	switch len(q.found) {
	case 0:
		return nil
	case 1:
		return q.found[0]
	}
	q.choose()
	return q.found[0]
}

// idKeyOf cuts the _id's key off an index key; ok is false if the values before
// it are not in the bounds that keys are checked against.
func (a *access) idKeyOf(key []byte) (idKey []byte, ok bool, err error) {
	rest := key[a.base:]
	if a.index.text != nil {
		n := value.KeyLen(rest, false)
		return rest[max(n, 0):], n > 0, nil
	}
	ok = true
	for i, k := range a.index.Keys {
		n := value.KeyLen(rest, k.Desc)
		if n <= 0 || n > len(rest) {
			return nil, false, errCorrupt
		}
		if i >= a.checked && a.bounds[i].known() {
			field := rest[:n]
			ok = ok && slices.ContainsFunc(a.bounds[i].in, func(in interval) bool { return in.has(field) })
		}
		rest = rest[n:]
	}
	return rest, ok, nil
}
