package fold

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// An Event is an operation in a document's history.
type Event struct {
	Ref    keyspace.Ref
	Code   keyspace.Code
	atomic bool
	known  bool // it was folded before, with this code
	kept   bool // it has a history key
}

// A lateOp is a place from which a document is to be folded again; add says
// that the operation there is new to the document.
type lateOp struct {
	e    *entry
	from keyspace.Ref
	add  bool
}

// A refolding is one document being folded again.
type refolding struct {
	e       *entry
	from    keyspace.Ref
	ordinal uint64  // operations before events
	events  []Event // after the cached base, in order
	gone    []Event // of voided logs
	start   int     // the first event to be judged again
	cur     keyspace.State
	stored  map[keyspace.Ref]keyspace.Code // events that have a history key
	unnamed bool                           // the record that is folded does not name the document
	flipped bool                           // some verdict is another now
	named   *Event                         // the last operation until now, if the base holds it: only the head names it
}

// refold folds documents again from the given places, and with them, from
// there, those that atomic transactions join to them.
func (b *batch) refold(lates []lateOp) error {
	f := &refolder{b: b, set: map[*entry]*refolding{}, extra: map[*entry][]Event{}}
	for _, l := range lates {
		if l.add {
			rec, err := b.record(l.from.N)
			if err != nil {
				return err
			}
			f.extra[l.e] = append(f.extra[l.e], Event{Ref: l.from, atomic: rec.Atomic})
		}
	}
	for _, l := range lates {
		if err := f.include(l.e, l.from); err != nil {
			return err
		}
	}
	named := len(f.order)
	if err := f.close(); err != nil {
		return err
	}
	for i, e := range f.order {
		f.set[e].unnamed = i >= named || !lates[0].add
	}
	before, err := f.timelines()
	if err != nil {
		return err
	}
	if err := f.run(); err != nil {
		return err
	}
	for _, r := range f.order {
		if err := b.foresee(r, f.set[r].from); err != nil {
			return err
		}
	}
	for _, r := range f.order {
		if err := f.write(f.set[r]); err != nil {
			return err
		}
	}
	b.fold.refolds.Add(int64(len(f.order)))
	return f.redefine(before)
}

// foresee queues, in steps, the rescan that a changed definition may need: once
// a step holds part of the change, the difference cannot be seen any more. It
// stays in the marker to the end, and is queued again only for an earlier place.
func (b *batch) foresee(e *entry, from keyspace.Ref) error {
	name := string(e.id.Str())
	if !b.stepping || e.coll.Name != judge.SystemCollection || payload.CheckName(name) != nil {
		return nil
	}
	if had, ok := b.foreseen[name]; ok {
		if c, err := b.compare(had, from); err != nil || c <= 0 {
			return err
		}
	}
	b.foreseen[name] = from
	b.rescans = append(b.rescans, rescan{name, from})
	return nil
}

// A refolder folds a set of documents again.
//
// Invariant: the set is closed. If an operation that is judged again belongs to an
// atomic transaction, all documents of that transaction are in the set from its
// place on, because the verdict on one of its operations decides all of them. What
// lies before a document's place keeps its verdict: nothing that is judged again
// comes before it.
//
//	a:  10 insert   20 $inc   30 delete          stored, on this replica
//	b:            20 $set (atomic with a's $inc)
//	    late: 15 replace of a
//	set {a from 15}; a's 20 is atomic, so {a from 15, b from 20}
//	judged again, in stamp order: 15 a, 20 a+b together, 30 a; kept: 10 a
//
// Everything is judged before anything is written, so that an error leaves the
// transaction as it was.
type refolder struct {
	b     *batch
	set   map[*entry]*refolding
	order []*entry
	extra map[*entry][]Event
	work  []*entry
}

// include makes e part of the set from the given place, or from an earlier one.
func (f *refolder) include(e *entry, from keyspace.Ref) error {
	if r := f.set[e]; r != nil {
		if c, err := f.b.compare(from, r.from); c >= 0 || err != nil {
			return err
		}
	} else {
		f.order = append(f.order, e)
	}
	r, err := f.b.load(e, from, f.extra[e])
	if err != nil {
		return err
	}
	f.set[e] = r
	f.work = append(f.work, e)
	return nil
}

// close follows atomic transactions until the set is closed under them.
func (f *refolder) close() error {
	for len(f.work) > 0 {
		r := f.set[f.work[0]]
		f.work = f.work[1:]
		for _, ev := range r.events[r.start:] {
			if !ev.atomic {
				continue
			}
			rec, err := f.b.record(ev.Ref.N)
			if err != nil {
				return err
			}
			for i := range rec.Ops {
				e, err := f.b.entry(rec.Ops[i].Coll, rec.Ops[i].Key, rec.Ops[i].ID)
				if err != nil {
					return err
				}
				if err := f.include(e, rec.Ref(0)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// load reads e's cached base before from and the events after it.
func (b *batch) load(e *entry, from keyspace.Ref, extra []Event) (*refolding, error) {
	r := &refolding{e: e, from: from, stored: map[keyspace.Ref]keyspace.Code{}}
	base, ok, err := b.base(e, from.Time)
	if err != nil {
		return nil, err
	}
	since := clock.Time(0)
	if ok {
		r.cur, r.ordinal, since = base.State, base.Count, base.Last.Time
	}
	evs, err := b.eventsAfter(e, since)
	if err != nil {
		return nil, err
	}
	for _, ev := range append(evs, extra...) {
		if slices.ContainsFunc(r.events, func(x Event) bool { return x.Ref == ev.Ref }) {
			continue
		}
		if ok {
			if c, err := b.compare(ev.Ref, base.Last); err != nil {
				return nil, err
			} else if c <= 0 {
				if ev.known && !ev.kept {
					r.named = &ev
				}
				continue
			}
		}
		if ev.kept {
			r.stored[ev.Ref] = ev.Code
		}
		if b.gone.has(ev.Ref.N) {
			r.gone = append(r.gone, ev)
			if c, err := b.compare(ev.Ref, r.from); err != nil {
				return nil, err
			} else if c < 0 {
				r.from = ev.Ref // the verdicts after it do not stand
			}
			continue
		}
		r.events = append(r.events, ev)
	}
	if err := b.sort(r.events); err != nil {
		return nil, err
	}
	return r, r.stand(b)
}

// stand applies the events before from, whose verdicts stand.
func (r *refolding) stand(b *batch) error {
	for r.start = 0; r.start < len(r.events); r.start++ {
		ev := r.events[r.start]
		if c, err := b.compare(ev.Ref, r.from); err != nil {
			return err
		} else if c >= 0 {
			break
		}
		if ev.Code != keyspace.CodeOK {
			continue
		}
		rec, err := b.record(ev.Ref.N)
		if err != nil {
			return err
		}
		r.cur = b.judge.Judge(&rec.Ops[ev.Ref.Index], r.cur, rec.Time, nil).Next
	}
	return nil
}

func (b *batch) sort(evs []Event) (err error) {
	slices.SortStableFunc(evs, func(x, y Event) int {
		c, e := b.compare(x.Ref, y.Ref)
		if e != nil {
			err = e
		}
		return c
	})
	return err
}

// base returns the latest cached state of e before t.
func (b *batch) base(e *entry, t clock.Time) (h keyspace.Head, ok bool, err error) {
	if e.Count < b.fold.BaseEvery {
		return h, false, nil
	}
	p := b.fold.Space.Key(keyspace.TagBase, keyspace.Num(e.coll.Num), e.idKey)
	it := b.tx.Iterate(store.Range{Lower: p, Upper: binary.BigEndian.AppendUint64(slices.Clone(p), uint64(t)), Reverse: true})
	defer it.Close()
	if !it.Valid() {
		return h, false, it.Err()
	}
	v, err := it.Value()
	if err != nil {
		return h, false, err
	}
	h, err = keyspace.ParseHead(bytes.Clone(v))
	return h, err == nil, err
}

// eventsAfter returns the operations of e at t or later, as they were folded.
func (b *batch) eventsAfter(e *entry, t clock.Time) (evs []Event, err error) {
	if e.Count == 0 {
		return nil, nil
	}
	last := Event{Ref: e.Last, Code: e.Code, atomic: e.Atomic, known: true}
	if e.Count == 1 {
		return []Event{last}, nil
	}
	p := b.fold.Space.Key(keyspace.TagHistory, keyspace.Num(e.coll.Num), e.idKey)
	it := b.tx.Iterate(store.Range{Lower: binary.BigEndian.AppendUint64(bytes.Clone(p), uint64(t)), Upper: store.PrefixEnd(p)})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		if e.dropped(it.Key()) {
			continue // only until the head is written, which names the operation now
		}
		s := keyspace.Scanner{B: it.Key()[len(p):]}
		r := s.Ref()
		v, err := it.Value()
		if err != nil {
			return nil, err
		}
		if s.Bad || len(s.B) != 0 || len(v) != 1 {
			return nil, keyspace.ErrCorrupt
		}
		if r == e.Last {
			continue // about to be dropped: the head names it
		}
		evs = append(evs, Event{Ref: r, Code: keyspace.Code(v[0] >> 1), atomic: v[0]&1 != 0, known: true, kept: true})
	}
	evs = append(evs, last)
	if err := it.Err(); err != nil {
		return nil, err
	}
	return evs, b.sort(evs)
}

// An occurrence is an event of one document of the set.
type occurrence struct {
	r *refolding
	i int // in r.events
}

// run judges the events of all documents of the set again, in stamp order.
func (f *refolder) run() (err error) {
	var all []occurrence
	for _, e := range f.order {
		r := f.set[e]
		if err := f.b.dropBases(r); err != nil {
			return err
		}
		for i := r.start; i < len(r.events); i++ {
			all = append(all, occurrence{r, i})
		}
	}
	slices.SortStableFunc(all, func(x, y occurrence) int {
		c, e := f.b.compare(x.r.events[x.i].Ref, y.r.events[y.i].Ref)
		if e != nil {
			err = e
		}
		return c
	})
	for len(all) > 0 && err == nil {
		n := 1
		first := all[0].r.events[all[0].i]
		for first.atomic && n < len(all) && all[n].r.events[all[n].i].Ref.N == first.Ref.N {
			n++
		}
		err = f.judge(all[:n])
		all = all[n:]
	}
	return err
}

// judge judges one operation, or all of an atomic transaction.
func (f *refolder) judge(os []occurrence) error {
	rec, err := f.b.record(os[0].r.events[os[0].i].Ref.N)
	if err != nil {
		return err
	}
	old := make([]keyspace.State, len(os))
	vs := make([]judge.Verdict, len(os))
	refused := false
	for k, o := range os {
		ev := o.r.events[o.i]
		op := &rec.Ops[ev.Ref.Index]
		def, err := f.definition(op.Coll, ev.Ref)
		if err != nil {
			return err
		}
		old[k] = o.r.cur
		vs[k] = f.b.judge.Decide(op, o.r.cur, rec.Author(), def)
		o.r.cur = vs[k].Next
		refused = refused || vs[k].Code != keyspace.CodeOK
	}
	if rec.Atomic && refused {
		for k := len(os) - 1; k >= 0; k-- {
			os[k].r.cur = old[k]
			if vs[k].Code == keyspace.CodeOK {
				vs[k].Code, vs[k].Err = keyspace.CodeAtomic, judge.ErrAtomic
			}
		}
	}
	for k, o := range os {
		if err := f.settle(o, rec, vs[k]); err != nil {
			return err
		}
	}
	return nil
}

// settle keeps the verdict of an occurrence, and a cached state where one is due.
func (f *refolder) settle(o occurrence, rec *journal.Record, v judge.Verdict) error {
	ev := &o.r.events[o.i]
	if v.Code != keyspace.CodeOK || ev.known && ev.Code != keyspace.CodeOK || f.b.resumed {
		if err := f.b.refuse(ev.Ref, rec, &rec.Ops[ev.Ref.Index], v); err != nil {
			return err
		}
	}
	o.r.flipped = o.r.flipped || ev.known && ev.Code != v.Code
	ev.Code = v.Code
	n := o.r.ordinal + uint64(o.i) + 1
	// Within an atomic transaction a document's state is not settled before
	// its last operation, so no state is cached there.
	if n%f.b.fold.BaseEvery != 0 || rec.Atomic {
		return nil
	}
	h := keyspace.Head{Last: ev.Ref, Code: ev.Code, Atomic: ev.atomic, Count: n, State: o.r.cur}
	return f.b.put(f.b.baseKey(o.r.e, ev.Ref), h.Append(nil))
}

func (f *refolder) definition(name string, r keyspace.Ref) (*judge.Definition, error) {
	if name == judge.SystemCollection {
		return nil, nil
	}
	d, err := f.b.definitionOf(name)
	if err != nil {
		return nil, err
	}
	if in := f.set[d.e]; in != nil {
		if c, err := f.b.compare(in.from, r); err != nil {
			return nil, err
		} else if c <= 0 {
			return f.b.fold.defs.Parse(in.cur.Doc)
		}
	}
	return f.b.definition(name, r)
}

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

// write makes the outcome the document's state and history.
//
// The order of the writes matters where they go into several transactions: after a
// crash the fold begins again with what is stored, so that at every step either the
// history or the head must name each operation of the document.
func (f *refolder) write(r *refolding) error {
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
	for i, ev := range r.events {
		was, stored := r.stored[ev.Ref]
		last := i == len(r.events)-1
		var err error
		switch {
		case last && stored:
			// Not before the head names it, or a crash would lose it.
			e.drops = append(e.drops, b.historyKey(e, ev.Ref))
		case !last && (!stored || was != ev.Code):
			err = b.putHistory(e, ev.Ref, ev.Code, ev.atomic)
		}
		if err != nil {
			return err
		}
	}
	return f.finish(r)
}

func (f *refolder) finish(r *refolding) error {
	b, e := f.b, r.e
	b.unnamed = r.unnamed
	if r.unnamed && (r.flipped || len(r.gone) > 0) {
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
