package db

import (
	"context"
	"maps"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/internal/clock"
)

// SetVoid says which logs count as never written, those of their records that
// are still to come included. It replaces the set of the call before: a log that
// has left it counts again. Setting the same set again changes nothing.
func (db *DB) SetVoid(ctx context.Context, logs []clock.LogID) error {
	set := make(map[clock.LogID]bool, len(logs))
	for _, id := range logs {
		set[id] = true
	}
	r := &request{ctx: ctx, do: func() error { return db.setVoid(set) }}
	if err := db.submit(r); err != nil {
		return err
	}
	return r.err
}

// setVoid notes the set and what is to be done durably, and then does it.
func (db *DB) setVoid(set map[clock.LogID]bool) error {
	b := db.newBatch()
	defer b.discard()
	var changed []clock.LogID
	for id := range set {
		if !db.void[id] {
			changed = append(changed, id)
			if err := b.tx.Put(db.key(tagVoid, id[:]), []byte{1}); err != nil {
				return err
			}
		}
	}
	for id := range db.void {
		if !set[id] {
			changed = append(changed, id)
			if err := b.tx.Delete(db.key(tagVoid, id[:])); err != nil {
				return err
			}
		}
	}
	if len(changed) == 0 {
		return nil
	}
	mk, err := bson.Marshal(redoMarker{Void: voidMarks(changed)})
	if err != nil {
		return err
	}
	if err := b.tx.Put(db.key(tagRedo), mk); err != nil {
		return err
	}
	if err := b.tx.Commit(); err != nil {
		return err
	}
	db.void = maps.Clone(set)
	return db.breaks(db.voidSteps(changed, nil))
}

func voidMarks(logs []clock.LogID) (out [][]byte) {
	for _, id := range logs {
		out = append(out, slices.Clone(id[:]))
	}
	return out
}

func parseVoidMarks(in [][]byte) (out []clock.LogID, err error) {
	for _, b := range in {
		if len(b) != len(clock.LogID{}) {
			return nil, errCorrupt
		}
		out = append(out, clock.LogID(b))
	}
	return out, nil
}

// voidSteps folds again what the logs touched that became void, or are void no
// longer, and the rescans that an interrupted attempt left.
func (db *DB) voidSteps(changed []clock.LogID, rescans []rescan) error {
	b := db.newBatch()
	defer b.discard()
	b.stepping, b.redo, b.voiding = true, true, changed
	b.rescans = rescans
	last := b.meta.cursor
	if k := len(b.meta.ahead); k > 0 {
		last = b.meta.ahead[k-1].last
	}
	for n := int64(0); n < last; {
		as, err := db.journal.Arrivals(n, db.budgetBytes)
		if err != nil {
			return err
		}
		if len(as) == 0 {
			return errLost
		}
		for i := range as {
			n = as[i].N
			folded := n <= b.meta.cursor || b.meta.isAhead(n)
			if !folded || !slices.Contains(changed, as[i].ID.Log) {
				continue
			}
			if err := b.revoid(decode(&as[i])); err != nil {
				return err
			}
		}
		b.forget()
	}
	if err := b.commit(); err != nil {
		return err
	}
	if err := db.store.Sync(); err != nil {
		return err
	}
	return db.finish(b)
}

// revoid takes a record out of the documents that it touched, or in again.
func (b *batch) revoid(rec *record) error {
	if b.db.void[rec.id.Log] {
		if err := b.unfold(rec); err != nil {
			return err
		}
	} else if err := b.fold(rec); err != nil {
		return err
	}
	return b.emit()
}

// unfold folds the documents of a void record again.
func (b *batch) unfold(rec *record) error {
	if rec.bad != nil {
		return b.refuse(rec.ref(0), rec, nil, verdict{})
	}
	b.records[rec.n] = rec
	for i := range rec.ops {
		e, err := b.entry(rec.ops[i].Coll, rec.ops[i].Key, rec.ops[i].ID)
		if err != nil {
			return err
		}
		if e.count == 0 {
			continue
		}
		if err := b.refold([]lateOp{{e, rec.ref(0), false}}); err != nil {
			return err
		}
	}
	return nil
}
