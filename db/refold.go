package db

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// An event is an operation in a document's history.
type event struct {
	ref    ref
	code   code
	atomic bool
	known  bool // it was folded before, with this code
	kept   bool // it has a history key
}

// A lateOp is a place from which a document is to be folded again; add says
// that the operation there is new to the document.
type lateOp struct {
	e    *entry
	from ref
	add  bool
}

// A refolding is one document being folded again.
type refolding struct {
	e       *entry
	from    ref
	ordinal uint64  // operations before events
	events  []event // after the cached base, in order
	gone    []event // of voided logs
	start   int     // the first event to be judged again
	cur     state
	stored  map[ref]code // events that have a history key
	unnamed bool         // the record that is folded does not name the document
	flipped bool         // some verdict is another now
	named   *event       // the last operation until now, if the base holds it: only the head names it
}

// refold folds documents again from the given places, and with them, from
// there, those that atomic transactions join to them.
func (b *batch) refold(lates []lateOp) error {
	f := &refolder{b: b, set: map[*entry]*refolding{}, extra: map[*entry][]event{}}
	for _, l := range lates {
		if l.add {
			rec, err := b.record(l.from.n)
			if err != nil {
				return err
			}
			f.extra[l.e] = append(f.extra[l.e], event{ref: l.from, atomic: rec.atomic})
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
	b.db.refolds.Add(int64(len(f.order)))
	return f.redefine(before)
}

// foresee queues, in steps, the rescan that a changed definition may need: once
// a step holds part of the change, the difference cannot be seen any more. It
// stays in the marker to the end, and is queued again only for an earlier place.
func (b *batch) foresee(e *entry, from ref) error {
	name := string(e.id.Str())
	if !b.stepping || e.coll.name != systemCollection || payload.CheckName(name) != nil {
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

type refolder struct {
	b     *batch
	set   map[*entry]*refolding
	order []*entry
	extra map[*entry][]event
	work  []*entry
}

// include makes e part of the set from the given place, or from an earlier one.
func (f *refolder) include(e *entry, from ref) error {
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
			rec, err := f.b.record(ev.ref.n)
			if err != nil {
				return err
			}
			for i := range rec.ops {
				e, err := f.b.entry(rec.ops[i].Coll, rec.ops[i].Key, rec.ops[i].ID)
				if err != nil {
					return err
				}
				if err := f.include(e, rec.ref(0)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// load reads e's cached base before from and the events after it.
func (b *batch) load(e *entry, from ref, extra []event) (*refolding, error) {
	r := &refolding{e: e, from: from, stored: map[ref]code{}}
	base, ok, err := b.base(e, from.time)
	if err != nil {
		return nil, err
	}
	since := clock.Time(0)
	if ok {
		r.cur, r.ordinal, since = base.state, base.count, base.last.time
	}
	evs, err := b.eventsAfter(e, since)
	if err != nil {
		return nil, err
	}
	for _, ev := range append(evs, extra...) {
		if slices.ContainsFunc(r.events, func(x event) bool { return x.ref == ev.ref }) {
			continue
		}
		if ok {
			if c, err := b.compare(ev.ref, base.last); err != nil {
				return nil, err
			} else if c <= 0 {
				if ev.known && !ev.kept {
					r.named = &ev
				}
				continue
			}
		}
		if ev.kept {
			r.stored[ev.ref] = ev.code
		}
		if b.gone.has(ev.ref.n) {
			r.gone = append(r.gone, ev)
			if c, err := b.compare(ev.ref, r.from); err != nil {
				return nil, err
			} else if c < 0 {
				r.from = ev.ref // the verdicts after it do not stand
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
		if c, err := b.compare(ev.ref, r.from); err != nil {
			return err
		} else if c >= 0 {
			break
		}
		if ev.code != codeOK {
			continue
		}
		rec, err := b.record(ev.ref.n)
		if err != nil {
			return err
		}
		r.cur = b.judge.judge(&rec.ops[ev.ref.index], r.cur, rec.time, nil).next
	}
	return nil
}

func (b *batch) sort(evs []event) (err error) {
	slices.SortStableFunc(evs, func(x, y event) int {
		c, e := b.compare(x.ref, y.ref)
		if e != nil {
			err = e
		}
		return c
	})
	return err
}

// base returns the latest cached state of e before t.
func (b *batch) base(e *entry, t clock.Time) (h head, ok bool, err error) {
	if e.count < b.db.baseEvery {
		return h, false, nil
	}
	p := b.db.key(tagBase, num(e.coll.num), e.idKey)
	it := b.tx.Iterate(store.Range{Lower: p, Upper: binary.BigEndian.AppendUint64(slices.Clone(p), uint64(t)), Reverse: true})
	defer it.Close()
	if !it.Valid() {
		return h, false, it.Err()
	}
	v, err := it.Value()
	if err != nil {
		return h, false, err
	}
	h, err = parseHead(bytes.Clone(v))
	return h, err == nil, err
}

// eventsAfter returns the operations of e at t or later, as they were folded.
func (b *batch) eventsAfter(e *entry, t clock.Time) (evs []event, err error) {
	if e.count == 0 {
		return nil, nil
	}
	last := event{ref: e.last, code: e.code, atomic: e.atomic, known: true}
	if e.count == 1 {
		return []event{last}, nil
	}
	p := b.db.key(tagHistory, num(e.coll.num), e.idKey)
	it := b.tx.Iterate(store.Range{Lower: binary.BigEndian.AppendUint64(bytes.Clone(p), uint64(t)), Upper: store.PrefixEnd(p)})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		if e.dropped(it.Key()) {
			continue // only until the head is written, which names the operation now
		}
		s := scanner{b: it.Key()[len(p):]}
		r := s.ref()
		v, err := it.Value()
		if err != nil {
			return nil, err
		}
		if s.bad || len(s.b) != 0 || len(v) != 1 {
			return nil, errCorrupt
		}
		if r == e.last {
			continue // about to be dropped: the head names it
		}
		evs = append(evs, event{ref: r, code: code(v[0] >> 1), atomic: v[0]&1 != 0, known: true, kept: true})
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
		c, e := f.b.compare(x.r.events[x.i].ref, y.r.events[y.i].ref)
		if e != nil {
			err = e
		}
		return c
	})
	for len(all) > 0 && err == nil {
		n := 1
		first := all[0].r.events[all[0].i]
		for first.atomic && n < len(all) && all[n].r.events[all[n].i].ref.n == first.ref.n {
			n++
		}
		err = f.judge(all[:n])
		all = all[n:]
	}
	return err
}

// judge judges one operation, or all of an atomic transaction.
func (f *refolder) judge(os []occurrence) error {
	rec, err := f.b.record(os[0].r.events[os[0].i].ref.n)
	if err != nil {
		return err
	}
	old := make([]state, len(os))
	vs := make([]verdict, len(os))
	refused := false
	for k, o := range os {
		ev := o.r.events[o.i]
		op := &rec.ops[ev.ref.index]
		def, err := f.definition(op.Coll, ev.ref)
		if err != nil {
			return err
		}
		old[k] = o.r.cur
		vs[k] = f.b.judge.decide(op, o.r.cur, rec.author(), def)
		o.r.cur = vs[k].next
		refused = refused || vs[k].code != codeOK
	}
	if rec.atomic && refused {
		for k := len(os) - 1; k >= 0; k-- {
			os[k].r.cur = old[k]
			if vs[k].code == codeOK {
				vs[k].code, vs[k].err = codeAtomic, errAtomic
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
func (f *refolder) settle(o occurrence, rec *record, v verdict) error {
	ev := &o.r.events[o.i]
	if v.code != codeOK || ev.known && ev.code != codeOK {
		if err := f.b.refuse(ev.ref, rec, &rec.ops[ev.ref.index], v); err != nil {
			return err
		}
	}
	o.r.flipped = o.r.flipped || ev.known && ev.code != v.code
	ev.code = v.code
	n := o.r.ordinal + uint64(o.i) + 1
	// Within an atomic transaction a document's state is not settled before
	// its last operation, so no state is cached there.
	if n%f.b.db.baseEvery != 0 || rec.atomic {
		return nil
	}
	h := head{last: ev.ref, code: ev.code, atomic: ev.atomic, count: n, state: o.r.cur}
	return f.b.put(f.b.baseKey(o.r.e, ev.ref), h.append(nil))
}

func (f *refolder) definition(name string, r ref) (*definition, error) {
	if name == systemCollection {
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
			return f.b.db.parse(in.cur.doc)
		}
	}
	return f.b.definition(name, r)
}

func (b *batch) dropBases(r *refolding) error {
	if r.e.count < b.db.baseEvery {
		return nil
	}
	p := b.db.key(tagBase, num(r.e.coll.num), r.e.idKey)
	var keys [][]byte
	it := b.tx.Iterate(store.Range{
		Lower: binary.BigEndian.AppendUint64(bytes.Clone(p), uint64(r.from.time)), Upper: store.PrefixEnd(p), KeysOnly: true,
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
func (f *refolder) write(r *refolding) error {
	b, e := f.b, r.e
	for _, ev := range r.gone {
		if ev.code != codeOK {
			rec, err := b.record(ev.ref.n)
			if err != nil {
				return err
			}
			if err := b.refuse(ev.ref, rec, nil, verdict{}); err != nil {
				return err
			}
		}
		// Before the head: after a crash the record brings the document back here,
		// and a head that counts one operation has no history.
		if err := b.del(b.historyKey(e, ev.ref)); err != nil {
			return err
		}
	}
	if r.named != nil && len(r.events) > 0 {
		if err := b.putHistory(e, r.named.ref, r.named.code, r.named.atomic); err != nil {
			return err
		}
	}
	for i, ev := range r.events {
		was, stored := r.stored[ev.ref]
		last := i == len(r.events)-1
		var err error
		switch {
		case last && stored:
			// Not before the head names it, or a crash would lose it.
			e.drops = append(e.drops, b.historyKey(e, ev.ref))
		case !last && (!stored || was != ev.code):
			err = b.putHistory(e, ev.ref, ev.code, ev.atomic)
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
	e.count = r.ordinal + uint64(len(r.events))
	if len(r.events) == 0 {
		if r.ordinal == 0 {
			e.last, e.code, e.atomic = ref{}, 0, false
		} else {
			h, _, err := b.base(e, ^clock.Time(0))
			if err != nil {
				return err
			}
			e.last, e.code, e.atomic = h.last, h.code, h.atomic
		}
	} else {
		ev := r.events[len(r.events)-1]
		e.last, e.code, e.atomic = ev.ref, ev.code, ev.atomic
		s := b.stat(e.coll)
		s.maxTime = max(s.maxTime, ev.ref.time)
		b.stats[e.coll.num] = s
	}
	b.touch(e)
	return nil
}
