package plan

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/weftdb/weft/internal/store"
)

const (
	sampleKeys  = 128 // keys that are counted before the rest is estimated
	sampleSpans = 8   // ranges that are looked into
)

// estimate sets how many keys a walks and how many documents it reads.
func (p *Planner) estimate(a *Access) {
	switch {
	case a.Parts != nil:
		for _, b := range a.Parts {
			p.estimate(b)
			a.Keys, a.Docs = a.Keys+b.Keys, a.Docs+b.Docs
		}
	case a.Ids != nil:
		a.Docs = float64(len(a.Ids))
	case !slices.ContainsFunc(a.Bounds, func(b Bound) bool { return b.Known() }):
		a.Docs = p.Total
		if a.Index != nil {
			a.Keys = p.Total
		}
	default:
		p.sample(a)
	}
}

// sample counts the first keys of some ranges and guesses the rest. There are no
// histograms to keep up to date: a plan costs a few hundred keys of reading, and is right
// about how many documents match to within a small factor.
func (p *Planner) sample(a *Access) {
	var spans []store.Range
	for _, s := range a.Streams {
		spans = append(spans, s...)
	}
	if len(spans) == 0 {
		return
	}
	step := max(1, len(spans)/sampleSpans)
	looked, seen, passed := 0, 0, 0
	for i := 0; i < len(spans) && seen < sampleKeys; i += step {
		looked++
		n, ok, est := p.sampleSpan(a, spans[i], sampleKeys-seen)
		seen, passed = seen+n, passed+ok
		a.Keys += est
	}
	a.Keys = min(a.Keys*float64(len(spans))/float64(looked), 2*p.Total)
	a.Docs = a.Keys
	if seen > 0 {
		a.Docs *= float64(passed) / float64(seen)
	}
	if a.Index == nil {
		a.Keys = 0
	}
}

// sampleSpan counts up to most keys of r, and those that pass the checks; est is how many
// keys r is thought to have.
func (p *Planner) sampleSpan(a *Access, r store.Range, most int) (n, passed int, est float64) {
	r.Reverse, r.KeysOnly = false, true
	it := p.V.Snap.Iterate(r)
	defer it.Close()
	var first, last []byte
	for ; it.Valid() && n < most; it.Next() {
		if n == 0 {
			first = bytes.Clone(it.Key())
		}
		n++
		last = append(last[:0], it.Key()...)
		if a.Index == nil {
			passed++
		} else if _, ok, err := a.IDKeyOf(last); ok && err == nil {
			passed++
		}
	}
	if n < most || !it.Valid() {
		return n, passed, float64(n)
	}
	r.Reverse = true
	end := p.V.Snap.Iterate(r)
	defer end.Close()
	if !end.Valid() {
		return n, passed, float64(n)
	}
	whole := Distance(first, end.Key(), first)
	part := Distance(last, end.Key(), first)
	est = p.Total
	if whole > 0 && part < whole {
		// The keys counted take up the first part of the range; the rest is taken to be
		// as dense as they are.
		est = float64(n) * whole / max(whole-part, whole*1e-9)
	}
	return n, passed, max(float64(n), min(est, p.Total))
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
