package fold

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// write writes what the refolder has found into its batch. It leaves the findings as
// they are, so that a batch that is too big can be followed by one in steps.
func (f *refolder) write() error {
	b := f.b
	before, err := f.holding()
	if err != nil {
		return err
	}
	for _, n := range f.add {
		for _, r := range n.refs {
			b.counts(r.N)
		}
	}
	for _, r := range f.order {
		if err := b.dropBases(r); err != nil {
			return err
		}
	}
	last := b.folding
	for i := range f.refusals {
		x := &f.refusals[i]
		if b.folding = last; x.fresh && b.records[x.at.N] != nil {
			b.folding = b.records[x.at.N]
		}
		if err := b.refuse(x.at, x.rec, &x.op, x.v); err != nil {
			return err
		}
	}
	b.folding = last
	for _, r := range f.order {
		for i := range r.bases {
			h := &r.bases[i]
			if err := b.put(b.baseKey(r.e, h.Last), h.Append(nil)); err != nil {
				return err
			}
		}
	}
	for _, r := range f.order {
		if err := b.foresee(r.e); err != nil {
			return err
		}
	}
	for _, r := range f.order {
		if err := f.writeHistory(r); err != nil {
			return err
		}
	}
	b.fold.refolds.Add(int64(len(f.order)))
	return f.redefine(before)
}

// foresee queues, in steps, the rescan that a changed definition may need: once
// a step holds part of the change, the difference cannot be seen any more. It
// stays in the marker to the end.
func (b *batch) foresee(e *entry) error {
	name := string(e.id.Str())
	if !b.stepping || e.coll.Name != judge.SystemCollection || payload.CheckName(name) != nil {
		return nil
	}
	if _, ok := b.foreseen[name]; !ok {
		b.foreseen[name] = everOn
		b.rescans = append(b.rescans, rescan{name, everOn})
	}
	return nil
}

// dropBases deletes the cached states from r's place on.
func (b *batch) dropBases(r *refolding) error {
	if r.e.Count < b.fold.BaseEvery && !b.resumed { // a state may be cached before the head counts enough
		return nil
	}
	p := b.fold.Space.Key(keyspace.TagBase, keyspace.Num(r.e.coll.Num), r.e.idKey)
	var keys [][]byte
	it := b.tx.Iterate(store.Range{
		Lower: binary.BigEndian.AppendUint64(bytes.Clone(p), uint64(r.from.Time)), Upper: store.PrefixEnd(p), KeysOnly: true,
	})
	for ; it.Valid(); it.Next() {
		keys = append(keys, bytes.Clone(it.Key()))
	}
	err := it.Err()
	it.Close()
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := b.del(k); err != nil {
			return err
		}
	}
	return nil
}

// writeHistory makes the outcome the document's state and history.
//
// The order of the writes matters where they go into several transactions: after a
// crash the fold begins again with what is stored, so that at every step either the
// history or the head must name each operation of the document.
func (f *refolder) writeHistory(r *refolding) error {
	b, e := f.b, r.e
	for _, ev := range r.gone {
		if ev.Code != keyspace.CodeOK { // sweepRefused finds others
			rec, err := b.record(ev.Ref.N)
			if err != nil {
				return err
			}
			if err := b.refuse(ev.Ref, rec, nil, judge.Verdict{}); err != nil {
				return err
			}
		}
		// Before the head: after a crash the record brings the document back here,
		// and a head that counts one operation has no history.
		if err := b.del(b.historyKey(e, ev.Ref)); err != nil {
			return err
		}
	}
	if r.named != nil && len(r.events) > 0 {
		if err := b.putHistory(e, r.named.Ref, r.named.Code, r.named.atomic); err != nil {
			return err
		}
	}
	marked := b.fold.prepared[docKey{Coll: r.coll, ID: string(r.idKey)}] > 0
	for i, ev := range r.events {
		last := i == len(r.events)-1
		var err error
		switch {
		case last && (ev.kept || marked):
			// Not before the head names it, or a crash would lose it.
			e.drops = append(e.drops, b.historyKey(e, ev.Ref))
		case !last && (!ev.kept || ev.was != ev.Code):
			err = b.putHistory(e, ev.Ref, ev.Code, ev.atomic)
		}
		if err != nil {
			return err
		}
	}
	if err := b.unmark(r); err != nil {
		return err
	}
	return f.finish(r)
}

// told reports whether a record that is folded has an operation on the document that
// holds: the journal tells of the document then. One that is refused does not, though
// the record may change what others did to it.
func (r *refolding) told() bool {
	return slices.ContainsFunc(r.events, func(ev Event) bool { return !ev.known && ev.Code == keyspace.CodeOK })
}

func (f *refolder) finish(r *refolding) error {
	b, e := f.b, r.e
	b.unnamed = r.unnamed || !r.told()
	if b.unnamed && (r.flipped || len(r.gone) > 0) {
		b.gap(e.coll)
	}
	b.set(e, r.cur, nil, nil)
	b.unnamed = false
	e.Count = r.ordinal + uint64(len(r.events))
	if len(r.events) == 0 {
		if r.ordinal == 0 {
			e.Last, e.Code, e.Atomic = keyspace.Ref{}, 0, false
		} else {
			h, _, err := b.base(e, ^clock.Time(0))
			if err != nil {
				return err
			}
			e.Last, e.Code, e.Atomic = h.Last, h.Code, h.Atomic
			e.drops = append(e.drops, b.historyKey(e, h.Last)) // the head names it now
		}
	} else {
		ev := r.events[len(r.events)-1]
		e.Last, e.Code, e.Atomic = ev.Ref, ev.Code, ev.atomic
		s := b.stat(e.coll)
		s.MaxTime = max(s.MaxTime, ev.Ref.Time)
		b.stats[e.coll.Num] = s
	}
	b.touch(e)
	return nil
}
