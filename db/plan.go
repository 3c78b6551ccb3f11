package db

import (
	"bytes"
	"strings"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/store"
)

// A plan is where a query looks: ranges of document keys or of one index.
// Whatever it finds is judged by the whole filter.
type access struct {
	index  *index // nil: documents by _id
	ranges []store.Range
	sorted bool // in the order of the query's sort
	base   int  // bytes of an index key before its values
}

// maxRanges bounds the ranges that a $in becomes.
const maxRanges = 1000

// planFor chooses the access with the most fields bound, or the one that saves
// the sort, or a scan of the collection.
func (v *view) planFor(db *DB, c *coll, f *query.Filter, s *query.Sort, noIndex bool) access {
	docs := db.key(tagDoc, num(c.num))
	var cons []query.Conjunct
	if f != nil {
		cons = f.Conjuncts()
	}
	idSort := sortsBy(s, []IndexKey{{Path: "_id"}}, 0)
	if rs, n := keyRanges(docs, []IndexKey{{Path: "_id"}}, cons, false); n > 0 {
		return access{ranges: rs, sorted: idSort}
	}
	best, score := access{ranges: []store.Range{store.Prefix(docs)}, sorted: idSort}, 0
	if noIndex {
		return best
	}
	for _, x := range c.indexes {
		if !x.usable(f, nil) || numericPath(x.Keys) {
			continue
		}
		p := db.key(tagIndex, num(x.num))
		multi := x.multi.Load()
		rs, n := keyRanges(p, x.Keys, cons, multi)
		sorted := !multi && len(rs) == 1 && s != nil && sortsBy(s, x.Keys, n/2) && !v.hasWide(db, x)
		sc := n
		if sorted && !idSort {
			sc += 3
		}
		if sc > score {
			best, score = access{index: x, ranges: rs, sorted: sorted, base: len(p)}, sc
		}
	}
	return best
}

// hasWide reports whether some document is beside the index.
func (v *view) hasWide(db *DB, x *index) bool {
	r := store.Prefix(db.key(tagWide, num(x.num)))
	r.KeysOnly = true
	it := v.snap.Iterate(r)
	defer it.Close()
	return it.Valid()
}

// numericPath reports whether a path may name a place in an array, which an
// index does not follow as filters do.
func numericPath(keys []IndexKey) bool {
	for _, k := range keys {
		for p := range strings.SplitSeq(k.Path, ".") {
			if p != "" && strings.Trim(p, "0123456789") == "" {
				return true
			}
		}
	}
	return false
}

// sortsBy reports whether keys, of which up to eq are bound to one value, come
// in the order of s.
func sortsBy(s *query.Sort, keys []IndexKey, eq int) bool {
	if s == nil {
		return false
	}
	fields := s.Fields()
	for skip := 0; skip <= min(eq, len(keys)); skip++ {
		rest := keys[skip:]
		if len(fields) == 0 || len(fields) > len(rest) {
			continue
		}
		same := true
		for i, f := range fields {
			same = same && f.Path == rest[i].Path && f.Desc == rest[i].Desc
		}
		// Ties come in _id order only after the whole key.
		if same && (len(fields) == len(rest) || rest[0].Path == "_id") {
			return true
		}
	}
	return false
}

// keyRanges returns the ranges under p that the conditions leave, and a score:
// two for a field bound to one value, one for a bounded field.
func keyRanges(p []byte, keys []IndexKey, cons []query.Conjunct, multi bool) (rs []store.Range, score int) {
	p = bytes.Clone(p)
	for _, k := range keys {
		eq, bounds, in := conditions(cons, k.Path)
		if eq != nil {
			p = value.AppendKey(p, *eq, k.Desc)
			score += 2
			continue
		}
		if len(in) > 0 && len(in) <= maxRanges {
			for _, v := range in {
				rs = append(rs, store.Prefix(value.AppendKey(bytes.Clone(p), v, k.Desc)))
			}
			if k.Desc {
				for i, j := 0, len(rs)-1; i < j; i, j = i+1, j-1 {
					rs[i], rs[j] = rs[j], rs[i]
				}
			}
			return rs, score + 1
		}
		if len(bounds) > 0 {
			return []store.Range{bounded(p, k.Desc, bounds, multi)}, score + 1
		}
		break
	}
	return []store.Range{store.Prefix(p)}, score
}

// conditions picks those on path that keys can serve.
func conditions(cons []query.Conjunct, path string) (eq *value.Value, bounds []query.Conjunct, in []value.Value) {
	for i := range cons {
		c := &cons[i]
		if c.Path != path || c.Value.IsArray() {
			continue
		}
		switch c.Op {
		case query.Eq:
			eq = &c.Value
		case query.Gt, query.Gte, query.Lt, query.Lte:
			bounds = append(bounds, *c)
		case query.In:
			arrays := false
			for _, v := range c.Values {
				arrays = arrays || v.IsArray()
			}
			if !arrays {
				in = c.Values
			}
		}
	}
	return eq, bounds, in
}

// bounded narrows the keys under p. In an index with several entries a
// document, different entries may meet different bounds: only one is used.
func bounded(p []byte, desc bool, bounds []query.Conjunct, multi bool) store.Range {
	r := store.Prefix(p)
	for _, c := range bounds {
		k := value.AppendKey(bytes.Clone(p), c.Value, desc)
		lower := (c.Op == query.Gt || c.Op == query.Gte) != desc
		if lower && bytes.Compare(k, r.Lower) > 0 {
			r.Lower = k
		}
		if end := store.PrefixEnd(k); !lower && end != nil && (r.Upper == nil || bytes.Compare(end, r.Upper) < 0) {
			r.Upper = end
		}
		if multi {
			break
		}
	}
	return r
}

// idKeyOf cuts the _id's key off an index key.
func (a *access) idKeyOf(key []byte) ([]byte, bool) {
	rest := key[a.base:]
	if a.index.text != nil {
		n := value.KeyLen(rest, false)
		return rest[max(n, 0):], n > 0
	}
	for _, k := range a.index.Keys {
		n := value.KeyLen(rest, k.Desc)
		if n <= 0 || n > len(rest) {
			return nil, false
		}
		rest = rest[n:]
	}
	return rest, true
}
