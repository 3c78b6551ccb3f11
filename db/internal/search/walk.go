package search

import (
	"bytes"
	"cmp"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/plan"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/store"
)

// A walk yields the keys of _ids that an access by an index finds, in its
// order: first the documents beside the index, then what the planner met when it counted,
// then its streams, merged.
//
//	key in the index   i 06 ‖ "JP" ‖ 5 ‖ id        walks give id
//	streams            "JP" 5…   "NO" 5…           two, if a sort on the second field merges them
type walk struct {
	a       *plan.Access
	wide    store.Iterator // nil once at its end
	prefix  int            // bytes of a wide key before the _id's key
	moved   bool           // wide is at a key that was returned
	counted [][]byte       // that the planner met, to be returned
	streams []*stream      // that are not at their end
	cur     *stream        // whose key was returned
	keys    int64          // walked
}

// maxTies is how many keys with the same values a walk backward holds before
// it turns around.
const maxTies = 64

// newWalk returns the walk of a, which belongs to one goroutine; the caller owes
// close.
func newWalk(v *view.View, a *plan.Access) *walk {
	w := &walk{a: a}
	if a.Index.Multi.Load() {
		r := store.Prefix(v.Space.Key(keyspace.TagWide, keyspace.Num(a.Index.Num)))
		r.KeysOnly = true
		w.wide, w.prefix = v.Snap.Iterate(r), len(r.Lower)
	}
	streams := a.Streams
	if len(streams) == 1 {
		var left []store.Range
		w.counted, w.keys, left = a.Counted()
		streams = [][]store.Range{left}
	}
	for _, spans := range streams {
		w.streams = append(w.streams, &stream{snap: v.Snap, a: a, spans: spans, merged: len(streams) > 1})
	}
	return w
}

// next returns the next _id's key, valid until the next call; nil at the end.
func (w *walk) next() ([]byte, error) {
	if w.wide != nil {
		if w.moved {
			w.wide.Next()
		}
		if w.moved = w.wide.Valid(); w.moved {
			w.keys++
			return w.wide.Key()[w.prefix:], nil
		}
		err := w.wide.Err()
		w.wide.Close()
		if w.wide = nil; err != nil {
			return nil, err
		}
	}
	if len(w.counted) > 0 {
		k := w.counted[0]
		w.counted = w.counted[1:]
		return k, nil
	}
	for {
		if err := w.advance(); err != nil || len(w.streams) == 0 {
			return nil, err
		}
		w.cur = w.streams[0]
		for _, s := range w.streams[1:] {
			if s.before(w.cur) {
				w.cur = s
			}
		}
		w.keys++
		idKey, ok, err := w.a.IDKeyOf(w.cur.key)
		if ok || err != nil {
			return idKey, err
		}
	}
}

// advance moves the stream whose key was returned, at first all, and drops those
// at their end.
func (w *walk) advance() error {
	kept := w.streams[:0]
	for _, s := range w.streams {
		if s == w.cur || s.key == nil {
			if err := s.next(); err != nil {
				return err
			}
			if s.key == nil {
				s.close()
				continue
			}
		}
		kept = append(kept, s)
	}
	w.streams = kept
	return nil
}

// A stream at its end was closed when it was dropped.
func (w *walk) close() {
	if w.wide != nil {
		w.wide.Close()
		w.wide = nil
	}
	for _, s := range w.streams {
		s.close()
	}
	w.streams, w.counted = nil, nil
}

// A stream is the keys of some ranges, one after the other. Backward, keys with
// the same values still come in the order of _id.
type stream struct {
	snap  store.Snapshot
	a     *plan.Access
	spans []store.Range
	it    store.Iterator
	key   []byte // current; nil before the first and at the end
	moved bool   // it is at a key that was current

	merged bool   // with others, by:
	values []byte // of key, after the fields that the stream has one value of
	idKey  []byte // of key

	held [][]byte       // keys to come, the next one last
	ties store.Iterator // forward over keys of the same values that are too many to hold
	same []byte         // those values
}

// next moves to the next key. The key is the iterator's memory, valid until the stream
// moves.
func (s *stream) next() error {
	for {
		if s.a.Reverse && s.backward() || !s.a.Reverse && s.forward() {
			return s.locate()
		}
		if s.it != nil {
			err := s.it.Err()
			s.it.Close()
			if s.it = nil; err != nil {
				return err
			}
		}
		if len(s.spans) == 0 {
			s.key = nil
			return nil
		}
		r := s.spans[0]
		r.KeysOnly = true
		s.it, s.moved, s.spans = s.snap.Iterate(r), false, s.spans[1:]
	}
}

// forward takes the next key; false at the end of a range.
func (s *stream) forward() bool {
	if s.it == nil {
		return false
	}
	if s.moved {
		s.it.Next()
	}
	if s.moved = s.it.Valid(); s.moved {
		s.key = s.it.Key()
	}
	return s.moved
}

// backward takes the next key of a walk backward; false at the end of a range. Keys with
// the same values come in the order of _id in every walk, so a tie is read to its end and
// held, to be returned from there; one too large is walked forward by another iterator.
//
//	keys        a1 a2 b1 b2 b3
//	backward    b1 b2 b3 a1 a2
func (s *stream) backward() bool {
	if s.ties != nil {
		if s.ties.Next(); s.ties.Valid() {
			s.key = s.ties.Key()
			return true
		}
		s.ties.Close()
		s.ties = nil
		s.it.Seek(s.same) // the largest key below them
	}
	if n := len(s.held); n > 0 {
		s.key, s.held = s.held[n-1], s.held[:n-1]
		return true
	}
	if s.it == nil || !s.it.Valid() {
		return false
	}
	s.same = bytes.Clone(s.valuesOf(s.it.Key()))
	for ; s.it.Valid() && bytes.Equal(s.valuesOf(s.it.Key()), s.same); s.it.Next() {
		if len(s.held) == maxTies {
			s.held = nil
			r := store.Prefix(s.same)
			r.KeysOnly = true
			if s.ties = s.snap.Iterate(r); !s.ties.Valid() {
				return false
			}
			s.key = s.ties.Key()
			return true
		}
		s.held = append(s.held, bytes.Clone(s.it.Key()))
	}
	return s.backward()
}

// valuesOf returns a key without the _id's key.
func (s *stream) valuesOf(key []byte) []byte {
	idKey, _, err := s.a.IDKeyOf(key)
	if err != nil {
		return key
	}
	return key[:len(key)-len(idKey)]
}

// locate finds the parts of the key that streams are merged by.
func (s *stream) locate() error {
	if !s.merged {
		return nil
	}
	at := s.a.Base
	for _, k := range s.a.Index.Keys[:s.a.Fixed] {
		n := value.KeyLen(s.key[at:], k.Desc)
		if n <= 0 || n > len(s.key)-at {
			return keyspace.ErrCorrupt
		}
		at += n
	}
	idKey, _, err := s.a.IDKeyOf(s.key)
	s.values, s.idKey = s.key[at:len(s.key)-len(idKey)], idKey
	return err
}

// before orders two streams by their current keys: values in the direction of the walk,
// then _id, which always rises.
func (s *stream) before(o *stream) bool {
	c := bytes.Compare(s.values, o.values)
	if s.a.Reverse {
		c = -c
	}
	return cmp.Or(c, bytes.Compare(s.idKey, o.idKey)) < 0
}

func (s *stream) close() {
	if s.it != nil {
		s.it.Close()
	}
	if s.ties != nil {
		s.ties.Close()
	}
	s.it, s.ties, s.held = nil, nil, nil
}
