package fold

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A Cut says which records count as never written, and which snapshots stand in
// their place. The documents of a snapshot come before every operation.
type Cut struct {
	// Void holds the logs of which records are void.
	Void map[clock.LogID]clock.Void
	// Snapshots holds the snapshot logs in force. Others are void.
	Snapshots map[clock.LogID]CutSnapshot
	// Tag gives what the journal's owner puts in the place of a state hash; nil if
	// State is the hash itself.
	Tag func(state clock.Hash) clock.Hash
}

// A CutSnapshot is a snapshot in force.
type CutSnapshot struct {
	Last  uint64     // position of its last record; what follows is void
	State clock.Hash // the state hash of its documents, or its tag
	// Whole says that this replica has all records that the snapshot stands
	// for, so that it can tell whether the documents are what they gave.
	Whole bool
}

// ErrSnapshot reports a snapshot whose documents are not those that the records
// gave, or not those of its state hash.
var ErrSnapshot = fault.New(fault.Malformed, "the snapshot is not the state that it claims to be")

// Voids reports whether a record counts as never written. A record of a snapshot log
// counts only if the snapshot is in force, up to its last.
func (c *Cut) Voids(id clock.RecordID, snapshot bool) bool {
	if c.Void[id.Log].Has(id) {
		return true
	}
	return snapshot && id.Seq > c.Snapshots[id.Log].Last
}

// SetCut says what counts as never written, records that are still to come
// included. It replaces the cut of the call before: what that left out and this
// does not counts again. A snapshot that comes into force must have arrived as a
// whole; it is checked, and if it is not what it claims to be nothing changes and
// the error is [ErrSnapshot]. Setting the same again changes nothing.
func (f *Fold) SetCut(ctx context.Context, c Cut) error {
	fresh := false
	r := &Request{Ctx: ctx, Do: func() error {
		for id, s := range c.Snapshots {
			fresh = fresh || f.cut.Snapshots[id].Last != s.Last
		}
		return nil
	}}
	if err := f.Submit(r); err != nil {
		return err
	}
	if fresh { // what it stands for, and it, are to be folded
		if err := f.Settle(ctx); err != nil {
			return err
		}
	}
	r = &Request{Ctx: ctx, Do: func() error { return f.setCut(c) }}
	if err := f.Submit(r); err != nil {
		return err
	}
	return r.Err
}

// A voidMark is what the cut before left out of a log that the cut changes.
type voidMark struct {
	log      clock.LogID
	snapshot uint64 // the last record of what was a snapshot in force
	void     clock.Void
}

// encodeVoidMarks returns of each mark log [32]byte ‖ snapshot u64be ‖ void.
func encodeVoidMarks(marks []voidMark) (out [][]byte) {
	for i := range marks {
		b := binary.BigEndian.AppendUint64(bytes.Clone(marks[i].log[:]), marks[i].snapshot)
		out = append(out, append(b, marks[i].void.Encode()...))
	}
	return out
}

func parseVoidMarks(in [][]byte) (out []voidMark, err error) {
	for _, b := range in {
		if len(b) < 40 {
			return nil, keyspace.ErrCorrupt
		}
		v, err := clock.DecodeVoid(b[40:])
		if err != nil {
			return nil, fault.Of(keyspace.ErrCorrupt, "corrupt value in the store: %w", err)
		}
		out = append(out, voidMark{clock.LogID(b[:32]), binary.BigEndian.Uint64(b[32:]), v})
	}
	return out, nil
}

// before returns the cut that the marks say was before c.
func (c *Cut) before(marks []voidMark) Cut {
	old := Cut{Void: maps.Clone(c.Void), Snapshots: maps.Clone(c.Snapshots)}
	for _, m := range marks {
		old.Void[m.log] = m.void
		delete(old.Snapshots, m.log)
		if m.snapshot > 0 {
			old.Snapshots[m.log] = CutSnapshot{Last: m.snapshot}
		}
	}
	return old
}

// setCut notes the cut and what is to be done durably, and then does it.
func (f *Fold) setCut(next Cut) error {
	c := Cut{Void: map[clock.LogID]clock.Void{}, Snapshots: map[clock.LogID]CutSnapshot{}, Tag: next.Tag}
	maps.Copy(c.Void, next.Void)
	maps.Copy(c.Snapshots, next.Snapshots)
	var marks []voidMark
	mark := func(id clock.LogID) {
		was, is := f.cut.Snapshots[id].Last, c.Snapshots[id].Last
		if !f.cut.Void[id].Equal(c.Void[id]) || was != is {
			marks = append(marks, voidMark{id, was, f.cut.Void[id]})
		}
	}
	logs := map[clock.LogID]bool{}
	for _, m := range []map[clock.LogID]clock.Void{c.Void, f.cut.Void} {
		for id := range m {
			logs[id] = true
		}
	}
	for _, m := range []map[clock.LogID]CutSnapshot{c.Snapshots, f.cut.Snapshots} {
		for id := range m {
			logs[id] = true
		}
	}
	for id := range logs {
		mark(id)
	}
	if len(marks) == 0 {
		return nil
	}
	if err := f.checkSnapshots(&c, marks); err != nil {
		return err
	}
	f.dropMerge() // what it gathered may not count any more
	if err := f.dropPrepared(); err != nil {
		return err
	}
	b := f.newBatch()
	defer b.discard()
	if err := b.noteCut(&c, marks); err != nil {
		return err
	}
	if err := b.tx.Commit(); err != nil {
		return err
	}
	f.cut = c
	return f.breaks(f.voidSteps(marks, nil))
}

// noteCut writes the changed logs of c and the marker of what is to be done.
func (b *batch) noteCut(c *Cut, marks []voidMark) error {
	for i := range marks {
		id := marks[i].log
		var err error
		if v := c.Void[id]; !v.Empty() {
			err = b.tx.Put(b.fold.Space.Key(keyspace.TagVoid, id[:]), v.Encode())
		} else {
			err = b.tx.Delete(b.fold.Space.Key(keyspace.TagVoid, id[:]))
		}
		if err == nil {
			if s, ok := c.Snapshots[id]; ok {
				err = b.tx.Put(b.fold.Space.Key(keyspace.TagSnapshot, id[:]), binary.BigEndian.AppendUint64(nil, s.Last))
			} else {
				err = b.tx.Delete(b.fold.Space.Key(keyspace.TagSnapshot, id[:]))
			}
		}
		if err != nil {
			return err
		}
	}
	return b.mark(redoMarker{Void: encodeVoidMarks(marks)})
}

func (f *Fold) loadCut(r store.Reader) (c Cut, err error) {
	c = Cut{Void: map[clock.LogID]clock.Void{}, Snapshots: map[clock.LogID]CutSnapshot{}}
	err = f.eachLog(r, keyspace.TagVoid, func(id clock.LogID, v []byte) bool {
		void, err := clock.DecodeVoid(v)
		c.Void[id] = void
		return err == nil && !void.Empty()
	})
	if err != nil {
		return c, err
	}
	return c, f.eachLog(r, keyspace.TagSnapshot, func(id clock.LogID, v []byte) bool {
		if len(v) != 8 {
			return false
		}
		c.Snapshots[id] = CutSnapshot{Last: binary.BigEndian.Uint64(v)}
		return true
	})
}

func (f *Fold) eachLog(r store.Reader, tag byte, each func(id clock.LogID, v []byte) bool) error {
	p := f.Space.Key(tag)
	it := r.Iterate(store.Prefix(p))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		id := it.Key()[len(p):]
		v, err := it.Value()
		if err != nil {
			return err
		}
		if len(id) != 32 || !each(clock.LogID(id), v) {
			return keyspace.ErrCorrupt
		}
	}
	return it.Err()
}

// checkSnapshots checks the snapshots that come into force by c: against the
// state hash that they come with and, if this replica has folded nothing but what
// they stand for, against its documents.
func (f *Fold) checkSnapshots(c *Cut, marks []voidMark) error {
	whole := true
	held := map[clock.LogID][]int64{}
	for _, m := range marks {
		if s, ok := c.Snapshots[m.log]; ok && m.snapshot != s.Last {
			held[m.log] = nil
			whole = whole && s.Whole
		}
	}
	if len(held) == 0 {
		return nil
	}
	err := f.eachFolded(func(n int64, id clock.RecordID, snapshot bool) {
		_, fresh := held[id.Log]
		switch {
		case c.Voids(id, snapshot):
		case fresh && snapshot:
			held[id.Log] = append(held[id.Log], n)
		default:
			whole = false
		}
	})
	if err != nil {
		return err
	}
	snap := f.Store.Snapshot()
	defer snap.Release()
	var docs int64
	for id, ns := range held {
		if len(ns) == 0 {
			continue // another stands for all of it
		}
		n, err := f.checkSnapshot(snap, ns, c, id, whole)
		if err != nil {
			return err
		}
		docs += n
	}
	if !whole || len(held) > 1 {
		return nil
	}
	var all int64
	for _, s := range f.meta.Stats {
		all += s.Docs
	}
	if docs != all {
		return fault.Of(ErrSnapshot, "the snapshot has %d documents, of %d", docs, all)
	}
	return nil
}

// checkSnapshot checks the snapshot of a log in the arrivals ns; whole says that its
// documents are to be those of the database.
func (f *Fold) checkSnapshot(r store.Reader, ns []int64, c *Cut, log clock.LogID, whole bool) (docs int64, err error) {
	var h lthash.State
	for _, n := range ns {
		rec, err := journal.Read(f.Journal, n)
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
			if !whole {
				continue
			}
			if err := f.checkState(r, op.Coll, op.Key, keyspace.State{Doc: op.Doc, Mod: clock.Time(op.Mod)}); err != nil {
				return 0, err
			}
		}
		h.Apply(deltas)
		docs += int64(len(rec.Ops))
	}
	got := clock.Hash(h.Sum())
	tag := got
	if c.Tag != nil {
		tag = c.Tag(got)
	}
	if tag != c.Snapshots[log].State {
		return 0, fault.Of(ErrSnapshot, "the snapshot is not the state that it claims to be: its state hash is %s", got)
	}
	return docs, nil
}

func (f *Fold) checkState(r store.Reader, coll string, key []byte, want keyspace.State) error {
	c := f.Cat.Colls[coll]
	if c != nil {
		v, err := r.Get(f.Space.Key(keyspace.TagDoc, keyspace.Num(c.Num), key))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err == nil {
			h, err := keyspace.ParseHead(v)
			if err != nil {
				return err
			}
			if keyspace.SameState(h.State, want) {
				return nil
			}
		}
	}
	return fault.Of(ErrSnapshot, "the snapshot is not the state that it claims to be: a document of %s differs", coll)
}

// eachFolded calls f for every arrival that is folded and still there.
func (f *Fold) eachFolded(each func(n int64, id clock.RecordID, snapshot bool)) error {
	last := f.lastFolded()
	return f.Journal.IDs(0, func(n int64, id clock.RecordID, snapshot bool) bool {
		if n > last {
			return false
		}
		if n <= f.meta.Cursor || f.meta.IsAhead(n) {
			each(n, id, snapshot)
		}
		return true
	})
}

func (f *Fold) lastFolded() int64 {
	if k := len(f.meta.Ahead); k > 0 {
		return f.meta.Ahead[k-1].Last
	}
	return f.meta.Cursor
}
