package fold

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A Checkpoint is the documents of a database at one moment, definitions included,
// in the form that stands for the records that gave them.
type Checkpoint struct {
	fold *Fold
	v    *view.View
}

// maxSnapshotBytes is about how many bytes of documents a record of a snapshot holds.
const maxSnapshotBytes = 512 << 10

var errUnsettled = errors.New("own records are folded ahead of others")

// Checkpoint calls at with the arrival up to which everything is folded, and
// nothing after it, and returns the documents there. Nothing is written
// meanwhile. The caller owes Close.
func (f *Fold) Checkpoint(ctx context.Context, at func(n int64) error) (*Checkpoint, error) {
	for {
		if err := f.Settle(ctx); err != nil {
			return nil, err
		}
		s := &Checkpoint{fold: f}
		r := &Request{Ctx: ctx, Do: func() error { return s.take(at) }}
		if err := f.Submit(r); err != nil {
			return nil, err
		}
		if !errors.Is(r.Err, errUnsettled) {
			return s, r.Err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// take is Checkpoint in the committer. Own records that are folded ahead of others are in
// the state, but not before the arrival that at gets: then it is tried again.
func (s *Checkpoint) take(at func(n int64) error) error {
	if len(s.fold.meta.Ahead) > 0 {
		return errUnsettled
	}
	if err := at(s.fold.meta.Cursor); err != nil {
		return err
	}
	v, err := s.fold.Acquire()
	s.v = v
	return err
}

// Close frees it; it may be called twice.
func (s *Checkpoint) Close() {
	if s.v != nil {
		s.v.Release()
		s.v = nil
	}
}

// Refused returns how many refused operations the database has; a snapshot does
// not hold them.
func (s *Checkpoint) Refused() int64 { return s.v.Refused }

// Each calls f with the payloads of the records of a snapshot and returns the
// state hash of its documents.
func (s *Checkpoint) Each(ctx context.Context, f func(payload []byte) error) (clock.Hash, error) {
	w := &snapshotWriter{f: f}
	names := slices.Sorted(maps.Keys(s.v.Cat.Colls))
	// Definitions last: whoever folds them has the documents, and fills indexes once.
	slices.SortStableFunc(names, func(a, b string) int {
		return boolInt(a == judge.SystemCollection) - boolInt(b == judge.SystemCollection)
	})
	for _, name := range names {
		if err := w.collection(ctx, s, name); err != nil {
			return clock.Hash{}, err
		}
	}
	if err := w.flush(); err != nil {
		return clock.Hash{}, err
	}
	return w.hash.Sum(), nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A snapshotWriter makes records of documents: as many in each as fit, and the hash of all,
// by which whoever takes the snapshot over checks it.
type snapshotWriter struct {
	f     func([]byte) error
	ops   []payload.Op
	size  int
	wrote bool // a record, which may be empty if there are no documents
	hash  lthash.State
}

// collection writes the documents of one collection, in the order of _id. Deleted ones are
// left out: what comes before a snapshot is not there to be told apart from them.
func (w *snapshotWriter) collection(ctx context.Context, s *Checkpoint, name string) error {
	p := s.v.Space.Key(keyspace.TagDoc, keyspace.Num(s.v.Cat.Colls[name].Num))
	it := s.v.Snap.Iterate(store.Prefix(p))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		v, err := it.Value()
		if err != nil {
			return err
		}
		h, err := keyspace.ParseHead(v)
		if err != nil {
			return err
		}
		if h.Doc == nil {
			continue
		}
		doc := bytes.Clone(h.Doc)
		n := payload.StateSize(name, doc)
		if n > payload.MaxBytes-16 {
			return fault.Of(keyspace.ErrTooLarge, "a document of %s has %d bytes, more than a snapshot can hold", name, len(doc))
		}
		if len(w.ops) > 0 && (w.size+n > maxSnapshotBytes || len(w.ops) == payload.MaxOps) {
			if err := w.flush(); err != nil {
				return err
			}
		}
		w.ops = append(w.ops, payload.Op{Coll: name, Doc: doc, Mod: uint64(h.Mod), Key: bytes.Clone(it.Key()[len(p):])})
		w.size += n
	}
	return it.Err()
}

// flush writes a record. An empty database has one record, too, so that its snapshot can
// be told from one that has not arrived.
func (w *snapshotWriter) flush() error {
	if len(w.ops) == 0 && w.wrote {
		return nil
	}
	w.wrote = true
	deltas := make([]lthash.Delta, len(w.ops))
	for i := range w.ops {
		deltas[i].Seed = keyspace.DocSeed(nil, w.ops[i].Coll, w.ops[i].Key, w.ops[i].Doc)
	}
	w.hash.Apply(deltas)
	err := w.f(payload.EncodeSnapshot(w.ops))
	w.ops, w.size = w.ops[:0], 0
	return err
}
