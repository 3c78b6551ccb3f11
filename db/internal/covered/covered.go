// Package covered compares a snapshot with what the records gave that it stands for, those
// that a cut covers.
//
//	Snapshot    its documents, each by a Check, and their state hash
//	Stored      a Check against what a store has
//	Docs, Left  a Check where other records were folded on top: what these are about is
//	            folded up to the cut by who can, and the rest is as it is stored
//	Pace        whether a cut changes no document, so that it can be taken in pieces
package covered

import (
	"errors"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"

	"github.com/weftdb/weft/db/internal/cut"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/internal/view"
)

// ErrSnapshot reports a snapshot whose documents are not those that the records gave, or
// not those of its state hash.
var ErrSnapshot = fault.New(fault.Malformed, "the snapshot is not the state that it claims to be")

// MaxAfter bounds the records that lie after a cut, and the documents that they are about,
// for Docs.
const MaxAfter = 1 << 14

// A Check compares a document of a snapshot with what it should be; ErrSnapshot if it is not.
type Check func(coll string, key []byte, want keyspace.State) error

// Snapshot checks the snapshot of a log in the arrivals ns, and each of its documents by
// check if that is not nil. It returns how many there are.
func Snapshot(j journal.Journal, ns []int64, c *cut.Cut, log clock.LogID, check Check) (docs int64, err error) {
	var h lthash.State
	for _, n := range ns {
		rec, err := journal.Read(j, n)
		if err != nil {
			return 0, err
		}
		if rec.Bad != nil {
			return 0, fault.Of(ErrSnapshot, "the snapshot holds a malformed record: %w", rec.Bad)
		}
		deltas := make([]lthash.Delta, len(rec.Ops))
		for i := range rec.Ops {
			op := &rec.Ops[i]
			deltas[i].Seed = keyspace.DocSeed(nil, op.Coll, op.Key, op.Doc)
			if check == nil {
				continue
			}
			if err := check(op.Coll, op.Key, keyspace.State{Doc: op.Doc, Mod: clock.Time(op.Mod)}); err != nil {
				return 0, err
			}
		}
		h.Apply(deltas)
		docs += int64(len(rec.Ops))
	}
	got := clock.Hash(h.Sum())
	if c.TagOf(got) != c.Snapshots[log].State {
		return 0, fault.Of(ErrSnapshot, "the snapshot is not the state that it claims to be: its state hash is %s", got)
	}
	return docs, nil
}

// differs reports a document that is not what it should be.
func differs(coll string) error {
	return fault.Of(ErrSnapshot, "the snapshot is not the state that it claims to be: a document of %s differs", coll)
}

// Stored checks by what a store has of the documents.
func Stored(r store.Reader, space keyspace.Space, cat *keyspace.Catalog) Check {
	return func(coll string, key []byte, want keyspace.State) error {
		s, err := state(r, space, cat, coll, key)
		if err == nil && !keyspace.SameState(s, want) {
			err = differs(coll)
		}
		return err
	}
}

// state returns what a store has of a document.
func state(r store.Reader, space keyspace.Space, cat *keyspace.Catalog, coll string, key []byte) (keyspace.State, error) {
	c := cat.Colls[coll]
	if c == nil {
		return keyspace.State{}, nil
	}
	v, err := r.Get(space.Key(keyspace.TagDoc, keyspace.Num(c.Num), key))
	if errors.Is(err, store.ErrNotFound) {
		return keyspace.State{}, nil
	}
	if err != nil {
		return keyspace.State{}, err
	}
	h, err := keyspace.ParseHead(v)
	return h.State, err
}

// A Doc is a document that records after the cut are about.
type Doc struct {
	Coll string
	Key  []byte
	ID   value.Value

	exists bool // the covered records left it
	seed   lthash.Seed
	mod    clock.Time
}

// Set says what the covered records left of d.
func (d *Doc) Set(s keyspace.State) {
	if d.exists, d.mod = s.Doc != nil, s.Mod; d.exists {
		d.seed = keyspace.DocSeed(nil, d.Coll, d.Key, s.Doc)
	}
}

// A docKey names a document.
type docKey struct{ coll, key string }

// Docs returns the documents that the records after a cut are about, and the latest time
// that it covers, which is moved at least; ok is false if one of these records is not later, or is a definition, whose
// verdict rests on the others that are held, or if they are about many.
func Docs(j journal.Journal, s *cut.Survey, moved clock.Time) (docs []Doc, latest clock.Time, ok bool, err error) {
	latest = moved
	for _, n := range s.Heads { // in a log times rise
		rec, err := journal.Read(j, n)
		if err != nil {
			return nil, 0, false, err
		}
		latest = max(latest, rec.Time)
	}
	seen := map[docKey]bool{}
	for _, n := range s.After {
		rec, err := journal.Read(j, n)
		if err != nil || rec.Time <= latest || rec.View != nil {
			return nil, 0, false, err
		}
		for i := range rec.Ops {
			op := &rec.Ops[i]
			if k := (docKey{op.Coll, string(op.Key)}); !seen[k] {
				seen[k] = true
				docs = append(docs, Doc{Coll: op.Coll, Key: slices.Clone(op.Key), ID: value.Value{Type: op.ID.Type, Data: slices.Clone(op.ID.Data)}})
			}
		}
		if len(docs) > MaxAfter {
			return nil, 0, false, nil
		}
	}
	return docs, latest, true, nil
}

// Left returns how many documents the covered records left, and checks by these; v is a view
// with the records after the cut, and docs, which were all Set, what these are about.
func Left(v *view.View, docs []Doc) (check Check, n int64, err error) {
	for _, s := range v.Stats {
		n += s.Docs
	}
	by := map[docKey]*Doc{}
	for i := range docs {
		d := &docs[i]
		by[docKey{d.Coll, string(d.Key)}] = d
		now, err := state(v.Snap, v.Space, v.Cat, d.Coll, d.Key)
		if err != nil {
			return nil, 0, err
		}
		if now.Doc != nil {
			n--
		}
		if d.exists {
			n++
		}
	}
	stored := Stored(v.Snap, v.Space, v.Cat)
	return func(coll string, key []byte, want keyspace.State) error {
		d := by[docKey{coll, string(key)}]
		if d == nil {
			return stored(coll, key, want)
		}
		if !d.exists || d.mod != want.Mod || d.seed != keyspace.DocSeed(nil, coll, key, want.Doc) {
			return differs(coll)
		}
		return nil
	}, n, nil
}
