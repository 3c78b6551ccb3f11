package db

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
func (p *planner) estimate(a *access) {
	switch {
	case a.parts != nil:
		for _, b := range a.parts {
			p.estimate(b)
			a.keys, a.docs = a.keys+b.keys, a.docs+b.docs
		}
	case a.ids != nil:
		a.docs = float64(len(a.ids))
	case !slices.ContainsFunc(a.bounds, func(b bound) bool { return b.known() }):
		a.docs = p.total
		if a.index != nil {
			a.keys = p.total
		}
	default:
		p.sample(a)
	}
}

// sample counts the first keys of some ranges and guesses the rest.
func (p *planner) sample(a *access) {
	var spans []store.Range
	for _, s := range a.streams {
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
		a.keys += est
	}
	a.keys = min(a.keys*float64(len(spans))/float64(looked), 2*p.total)
	a.docs = a.keys
	if seen > 0 {
		a.docs *= float64(passed) / float64(seen)
	}
	if a.index == nil {
		a.keys = 0
	}
}

// sampleSpan counts up to most keys of r, and those that pass the checks.
func (p *planner) sampleSpan(a *access, r store.Range, most int) (n, passed int, est float64) {
	r.Reverse, r.KeysOnly = false, true
	it := p.v.snap.Iterate(r)
	defer it.Close()
	var first, last []byte
	for ; it.Valid() && n < most; it.Next() {
		if n == 0 {
			first = bytes.Clone(it.Key())
		}
		n++
		last = append(last[:0], it.Key()...)
		if a.index == nil {
			passed++
		} else if _, ok, err := a.idKeyOf(last); ok && err == nil {
			passed++
		}
	}
	if n < most || !it.Valid() {
		return n, passed, float64(n)
	}
	r.Reverse = true
	end := p.v.snap.Iterate(r)
	defer end.Close()
	if !end.Valid() {
		return n, passed, float64(n)
	}
	whole := distance(first, end.Key(), first)
	part := distance(last, end.Key(), first)
	est = p.total
	if whole > 0 && part < whole {
		est = float64(n) * whole / max(whole-part, whole*1e-9)
	}
	return n, passed, max(float64(n), min(est, p.total))
}

// distance returns how far a key lies below end, by the eight bytes after what
// first and end begin with alike.
func distance(key, end, first []byte) float64 {
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
