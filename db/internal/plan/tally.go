package plan

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/weftdb/weft/internal/store"
)

const (
	firstKeys  = 64      // keys of an access that are counted first
	keptBytes  = 4 << 20 // of the _ids met in counting that are kept for the walk
	stopsEvery = 1024    // keys after which Stop is asked
)

// A tally is how far the keys of an access have been counted: exactly, from the front. A
// walk that begins where the counting ended reads no key twice.
//
//	ranges   "JP" …   "NO" …   "PE" …
//	counted  ──── 210 ──── 38        left: the rest of "NO", and "PE"
type tally struct {
	begun bool
	left  []store.Range // that are not counted to their end, forward; the first may be begun
	ended int           // ranges counted to their end
	keys  int           // counted
	docs  int           // of these, that pass the checks on keys
	here  int           // keys of the first range left that are counted
	first []byte        // of these
	last  []byte        // of these
	end   []byte        // the last key of that range; nil if it was not looked for

	kept []byte // the keys of the _ids, one after the other, if keep
	ends []int  // where each ends
	keep bool
}

// counts reports whether the keys of a must be counted to know how many they are.
func (a *Access) counts() bool {
	if a.Ids != nil || a.Parts != nil {
		return false
	}
	return slices.ContainsFunc(a.Bounds, func(b Bound) bool { return b.Known() }) ||
		a.Index != nil && (a.Index.Sparse || a.Index.Partial != nil)
}

// begin makes the tally of a ready to count. The _ids are kept if the walk takes the keys
// in the order in which they are counted.
func (a *Access) begin() {
	if a.tally.begun {
		return
	}
	a.tally.begun = true
	for _, s := range a.Streams {
		for _, r := range s {
			r.Reverse, r.KeysOnly = false, true
			a.tally.left = append(a.tally.left, r)
		}
	}
	a.tally.keep = a.Index != nil && !a.Reverse && len(a.Streams) == 1
}

// count counts up to most further keys of a.
func (p *Planner) count(a *Access, most int) error {
	if a.Parts != nil {
		for _, b := range a.Parts {
			if err := p.count(b, max(1, most/len(a.Parts))); err != nil {
				return err
			}
		}
		return nil
	}
	if !a.counts() {
		return nil
	}
	a.begin()
	for t := &a.tally; most > 0 && len(t.left) > 0; {
		n, err := p.countRange(a, t.left[0], most)
		if err != nil {
			return err
		}
		if n < most {
			t.left, t.ended = t.left[1:], t.ended+1
			t.here, t.first, t.last, t.end = 0, nil, nil, nil
		}
		most -= max(1, n) // an empty range costs a look
	}
	return nil
}

// countRange counts up to most keys of r, of which t.here are counted already; n below
// most is the end of r.
func (p *Planner) countRange(a *Access, r store.Range, most int) (n int, err error) {
	t := &a.tally
	r.Lower = t.after(r.Lower)
	it := p.V.Snap.Iterate(r)
	defer it.Close()
	for ; n < most && it.Valid(); it.Next() {
		if t.keys%stopsEvery == 0 && p.Stop != nil {
			if err := p.Stop(); err != nil {
				return n, err
			}
		}
		key, ok := it.Key(), true
		if a.Index != nil {
			var idKey []byte
			if idKey, ok, err = a.IDKeyOf(key); err != nil {
				return n, err
			}
			if ok {
				t.hold(idKey)
			}
		}
		if ok {
			t.docs++
		}
		if t.here == 0 {
			t.first = bytes.Clone(key)
		}
		t.last = append(t.last[:0], key...)
		n, t.here, t.keys = n+1, t.here+1, t.keys+1
	}
	return n, it.Err()
}

// after returns the key from which the counting of a range goes on.
func (t *tally) after(lower []byte) []byte {
	if t.here == 0 {
		return lower
	}
	return append(bytes.Clone(t.last), 0)
}

// hold keeps an _id's key for the walk, unless they are too many.
func (t *tally) hold(idKey []byte) {
	if !t.keep {
		return
	}
	if len(t.kept)+len(idKey)+8*len(t.ends) > keptBytes {
		t.keep, t.kept, t.ends = false, nil, nil
		return
	}
	t.kept = append(t.kept, idKey...)
	t.ends = append(t.ends, len(t.kept))
}

// Counted returns the keys of the _ids that counting met, in the order of the walk, how
// many keys were looked at for them, and the ranges that are left after them: all of them
// if nothing was kept. It is for accesses of one stream.
func (a *Access) Counted() (idKeys [][]byte, looked int64, left []store.Range) {
	t := &a.tally
	if !t.begun || !t.keep {
		return nil, 0, a.Streams[0]
	}
	idKeys = make([][]byte, len(t.ends))
	from := 0
	for i, end := range t.ends {
		idKeys[i], from = t.kept[from:end:end], end
	}
	left = slices.Clone(t.left)
	if len(left) > 0 {
		left[0].Lower = t.after(left[0].Lower)
	}
	return idKeys, int64(t.keys), left
}

// Held returns how many bytes the _ids take that counting kept.
func (a *Access) Held() int64 {
	n := int64(len(a.tally.kept) + 8*len(a.tally.ends))
	for _, b := range a.Parts {
		n += b.Held()
	}
	return n
}

// drop forgets the _ids that counting kept: a walk of another access will not need them.
func (a *Access) drop() {
	a.tally.keep, a.tally.kept, a.tally.ends = false, nil, nil
	for _, b := range a.Parts {
		b.drop()
	}
}

// known returns how many keys and documents a has at least; done says that it is not
// more. The keys of an index without bounds are taken to be as many as the documents.
func (p *Planner) known(a *Access) (keys, docs float64, done bool) {
	switch {
	case a.Parts != nil:
		done = true
		for _, b := range a.Parts {
			k, d, all := p.known(b)
			keys, docs, done = keys+k, docs+d, done && all
		}
		return keys, docs, done
	case a.Ids != nil:
		return 0, float64(len(a.Ids)), true
	case !a.counts() && a.Index == nil:
		return 0, p.Total, true
	case !a.counts():
		return p.Total, p.Total, true
	}
	t := &a.tally
	keys, docs, done = float64(t.keys), float64(t.docs), t.begun && len(t.left) == 0
	if a.Index == nil {
		keys = 0
	}
	return keys, docs, done
}

// guess returns about how many keys and documents a has, by what is counted of it. It
// says what to try, never what is certain: values that lie in clusters mislead it.
func (p *Planner) guess(a *Access) (keys, docs float64) {
	keys, docs, done := p.known(a)
	if done {
		return keys, docs
	}
	if a.Parts != nil {
		keys, docs = 0, 0
		for _, b := range a.Parts {
			k, d := p.guess(b)
			keys, docs = keys+k, docs+d
		}
		return keys, docs
	}
	t := &a.tally
	if t.keys == 0 {
		return keys, docs
	}
	all := float64(t.keys)
	looked := t.ended
	if t.here > 0 {
		all += p.rest(t)
		looked++
	}
	all = min(all*float64(t.ended+len(t.left))/float64(looked), max(p.Total, float64(t.keys)))
	docs = all * docs / float64(t.keys)
	if a.Index != nil {
		keys = all
	}
	return keys, docs
}

// rest guesses the keys left of the range under way: those counted take up the first part
// of it, and the rest is taken to be as dense as they are.
func (p *Planner) rest(t *tally) float64 {
	if t.end == nil {
		r := t.left[0]
		r.Reverse = true
		it := p.V.Snap.Iterate(r)
		if it.Valid() {
			t.end = bytes.Clone(it.Key())
		}
		it.Close()
	}
	if t.end == nil || bytes.Equal(t.end, t.last) {
		return 0
	}
	whole, part := Distance(t.first, t.end, t.first), Distance(t.last, t.end, t.first)
	if whole <= 0 || part >= whole {
		return p.Total
	}
	return min(p.Total, float64(t.here)*part/max(whole-part, whole*1e-9))
}

// Distance returns how far a key lies below end, by the eight bytes after what
// first and end begin with alike.
func Distance(key, end, first []byte) float64 {
	n := 0
	for n < len(first) && n < len(end) && first[n] == end[n] {
		n++
	}
	at := func(k []byte) float64 {
		var b [8]byte
		copy(b[:], k[min(n, len(k)):])
		return float64(binary.BigEndian.Uint64(b[:]))
	}
	return at(end) - at(key)
}
