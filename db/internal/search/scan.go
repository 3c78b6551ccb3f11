package search

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/plan"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/store"
)

const (
	chunkDocs = 4096      // documents for each part that a collection is split into
	maxChunks = 64        // parts
	scanDocs  = 8192      // documents that a goroutine looks at before all wait for each other
	scanFound = 256       // documents found after which it waits
	scanBytes = 512 << 10 // bytes of documents found after which it waits
)

// A scan walks documents by _id: a few parts of the key space at a time, each
// with a goroutine. What it finds comes in order all the same: only the first chunk's is
// returned, and the others hold theirs, up to a bound, until it is their turn.
type scan struct {
	chunks []*chunk // that are not returned, in order
	active int      // chunks that may be walked at once
	stride int      // documents that each looks at in one go
	whole  bool     // all of the collection is walked
	seen   int64    // documents in chunks that were returned
}

// A chunk is a part of a scan. One goroutine at a time has it, between two rounds none.
type chunk struct {
	r     store.Range
	base  int            // bytes of a key before the _id's key
	it    store.Iterator // nil before its begin and after its end
	ended bool
	out   []view.Found
	size  int   // bytes of out
	seen  int64 // documents, whether they match or not
}

// newScan splits the ranges of a. A search that wants few documents begins with small strides
// in one part: most of what others would find is not wanted. With a limit and an order that
// the access has, the stride grows each time until all goroutines take part.
func (s *Search) newScan(a *plan.Access) *scan {
	sc := &scan{active: Workers(), stride: scanDocs, whole: s.isWhole(a)}
	for _, r := range s.chunksOf(a) {
		sc.chunks = append(sc.chunks, &chunk{r: r, base: a.Base})
	}
	if s.o.Limit > 0 && (s.Sort == nil || a.Order.Whole) {
		sc.active, sc.stride = 1, 64
	}
	return sc
}

// isWhole reports whether an access is all documents of the collection by _id.
func (s *Search) isWhole(a *plan.Access) bool {
	if a.Index != nil || a.Ids != nil {
		return false
	}
	all := slices.Concat(a.Streams...)
	if len(all) != 1 {
		return false
	}
	p := store.Prefix(s.v.Space.Key(keyspace.TagDoc, keyspace.Num(s.C.Num)))
	return bytes.Equal(all[0].Lower, p.Lower) && bytes.Equal(all[0].Upper, p.Upper)
}

// checkSeen compares how many documents a walk of all met with how many there are: of an
// engine that does not check all that it reads, keys can be missing without an error.
func (s *Search) checkSeen(seen int64) error {
	if want := s.v.Stats[s.C.Num].Docs; seen != want {
		return keyspace.Missing(s.C.Name, seen, want)
	}
	return nil
}

// chunksOf divides the ranges of a into as many parts as the size of the collection is
// worth.
func (s *Search) chunksOf(a *plan.Access) (out []store.Range) {
	all := slices.Concat(a.Streams...)
	n := int(min(s.v.Stats[s.C.Num].Docs/chunkDocs, maxChunks)) / max(1, len(all))
	for _, r := range all {
		out = append(out, split(s.v.Snap, r, n)...)
	}
	return out
}

func (sc *scan) close() {
	for _, c := range sc.chunks {
		c.close()
	}
	sc.chunks = nil
}

// A chunk that is closed has ended; what it found may still wait for its turn.
func (c *chunk) close() {
	if c.it != nil {
		c.it.Close()
		c.it = nil
	}
	c.ended = true
}

// refill lets the active chunks walk on, the first one always, and returns what the first
// has. Chunks that found enough wait, which bounds what is held:
//
//	chunk 0   walking     found 12    returned now
//	chunk 1   walking     found 300   held
//	chunk 2   waiting     found 1100  held, and not walked until it is its turn
//	chunk 3   not begun
func (sc *scan) refill(s *Search) (out []view.Found, more bool, err error) {
	var work []*chunk
	for i, c := range sc.chunks[:min(sc.active, len(sc.chunks))] {
		if !c.ended && (i == 0 || c.size < scanBytes && len(c.out) < 4*scanFound) {
			work = append(work, c)
		}
	}
	if len(work) > 0 {
		errs := make([]error, len(work))
		parallel(len(work), func(i int) { errs[i] = work[i].walk(s, sc.stride) })
		if err = errors.Join(errs...); err != nil {
			return nil, false, err
		}
	}
	// A chunk that found nothing yet, and has not ended, holds up those after it.
	for len(sc.chunks) > 0 && out == nil {
		c := sc.chunks[0]
		out, c.out, c.size = c.out, nil, 0
		if !c.ended {
			break
		}
		sc.seen += c.seen
		sc.chunks = sc.chunks[1:]
	}
	if sc.whole && len(sc.chunks) == 0 {
		sc.whole = false
		if err := s.checkSeen(sc.seen); err != nil {
			return nil, false, err
		}
	}
	if sc.stride = min(4*sc.stride, scanDocs); sc.stride == scanDocs {
		sc.active = Workers()
	}
	return out, len(sc.chunks) > 0, nil
}

// walk looks at up to most documents of c and keeps those that match.
func (c *chunk) walk(s *Search, most int) error {
	left := scanFound
	return c.each(s, most, func(h *keyspace.Head, idKey []byte) (bool, error) {
		f := view.Found{Head: *h, IDKey: bytes.Clone(idKey)}
		f.Doc = bytes.Clone(h.Doc)
		c.out = append(c.out, f)
		c.size += len(f.Doc) + len(f.IDKey)
		left--
		return left > 0 && c.size < scanBytes, nil
	})
}

// each looks at up to most documents of c and calls f with those that match; h
// and idKey are valid until it returns, and it says whether to go on.
func (c *chunk) each(s *Search, most int, f func(h *keyspace.Head, idKey []byte) (bool, error)) error {
	if c.ended {
		return nil
	}
	if c.it == nil {
		c.it = s.v.Snap.Iterate(c.r)
	}
	var h keyspace.Head
	n := 0
	defer func() { s.DocsExamined.Add(int64(n)) }()
	for again := true; again && n < most; c.it.Next() {
		if !c.it.Valid() {
			err := c.it.Err()
			c.close()
			return err
		}
		if n++; n%256 == 0 && s.Ctx.Err() != nil {
			return s.Ctx.Err()
		}
		v, err := c.it.Value()
		if err != nil {
			return err
		}
		ok, err := s.test(&h, v)
		if err != nil {
			return err
		}
		if h.Doc != nil {
			c.seen++
		}
		key := c.it.Key()[c.base:]
		if ok && s.seen != nil {
			_, again := s.seen[string(key)]
			ok = !again
		}
		ok = ok && !s.gave(key)
		if !ok {
			continue
		}
		if again, err = f(&h, key); err != nil {
			return err
		}
	}
	return nil
}

// split divides a range into about n parts, in its direction, by halving the distance
// between the first and last keys of parts: where the keys lie close together the parts
// hold more of them. Each round halves every part that can be halved, so there may be up to
// twice as many as n.
func split(snap store.Snapshot, r store.Range, n int) []store.Range {
	if n < 2 {
		return []store.Range{r}
	}
	up, down := r, r
	up.Reverse, up.KeysOnly, down.Reverse, down.KeysOnly = false, true, true, true
	first, last := snap.Iterate(up), snap.Iterate(down)
	defer first.Close()
	defer last.Close()
	if !first.Valid() || !last.Valid() {
		return []store.Range{r}
	}
	marks := [][]byte{bytes.Clone(first.Key()), bytes.Clone(last.Key())}
	for len(marks) <= n {
		next := [][]byte{marks[0]}
		for i := 1; i < len(marks); i++ {
			if first.Seek(middle(marks[i-1], marks[i])); first.Valid() && bytes.Compare(first.Key(), marks[i]) < 0 &&
				bytes.Compare(first.Key(), marks[i-1]) > 0 {
				next = append(next, bytes.Clone(first.Key()))
			}
			next = append(next, marks[i])
		}
		if len(next) == len(marks) {
			break
		}
		marks = next
	}
	parts := make([]store.Range, 0, len(marks)-1)
	from := r.Lower
	for _, c := range marks[1 : len(marks)-1] {
		part := r
		part.Lower, part.Upper = from, c
		parts, from = append(parts, part), c
	}
	rest := r
	rest.Lower = from
	parts = append(parts, rest)
	if r.Reverse {
		slices.Reverse(parts)
	}
	return parts
}

// middle returns a key halfway between two. Only the eight bytes behind what a and b share
// are looked at: as numbers they say where the half is.
func middle(a, b []byte) []byte {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	at := func(k []byte) uint64 {
		var p [8]byte
		copy(p[:], k[n:])
		return binary.BigEndian.Uint64(p[:])
	}
	lo, hi := at(a), at(b)
	return binary.BigEndian.AppendUint64(bytes.Clone(a[:n]), lo+(hi-lo)/2)
}

// A Sink takes documents that match, in no order, from one goroutine; h and
// idKey are valid until it returns.
type Sink interface {
	Take(h *keyspace.Head, idKey []byte) error
}

// Drain gives each document that matches to one of the sinks, which work at the same time.
// sinks are as many as may work at once; a sink is never called by two goroutines. A
// document comes once, in whatever parts of the access it is.
func (s *Search) Drain(sinks []Sink) error {
	for s.C != nil && len(s.Parts) > 0 {
		a := s.Parts[0]
		var err error
		if a.Index == nil && a.Ids == nil {
			err = s.drainScan(a, sinks)
		} else {
			err = s.drainFetch(a, sinks)
		}
		if err != nil {
			return err
		}
		s.Parts = s.Parts[1:]
	}
	s.done = true
	return nil
}

// drainScan has each sink take the next chunk when it is done with one.
func (s *Search) drainScan(a *plan.Access, sinks []Sink) error {
	chunks := s.chunksOf(a)
	var next, seen atomic.Int64
	errs := make([]error, len(sinks))
	parallel(min(len(sinks), len(chunks)), func(w int) {
		for errs[w] == nil {
			i := int(next.Add(1)) - 1
			if i >= len(chunks) {
				return
			}
			c := &chunk{r: chunks[i], base: a.Base}
			for !c.ended && errs[w] == nil {
				errs[w] = c.each(s, scanDocs, func(h *keyspace.Head, idKey []byte) (bool, error) { return true, sinks[w].Take(h, idKey) })
			}
			c.close()
			seen.Add(c.seen)
		}
		if errs[w] != nil {
			next.Store(int64(len(chunks))) // the others end, too
		}
	})
	if err := errors.Join(errs...); err != nil || !s.isWhole(a) {
		return err
	}
	return s.checkSeen(seen.Load())
}

// drainFetch walks in one goroutine and fetches each batch in several.
func (s *Search) drainFetch(a *plan.Access, sinks []Sink) error {
	f := &fetch{a: a, ids: a.Ids, stride: mostFetch}
	if a.Index != nil {
		f.w = newWalk(s.v, a)
	}
	defer f.close()
	for {
		more, err := f.batch(s)
		if err == nil {
			err = s.Ctx.Err()
		}
		if err == nil {
			err = f.each(s, func(p, i int, h *keyspace.Head) error { return sinks[p].Take(h, f.key(i)) })
		}
		if err != nil || !more {
			return err
		}
	}
}
