package fold

import (
	"bytes"
	"container/heap"
	"encoding/binary"
	"slices"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/prepared"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// An Event is an operation in a document's history.
type Event struct {
	Ref    keyspace.Ref
	Code   keyspace.Code
	was    keyspace.Code // Code as it was folded before
	atomic bool
	known  bool // it was folded before
	kept   bool // it has a history key
}

// A docKey names a document.
type docKey = prepared.Doc

// A gain is the operations that a merge adds to one document, in order of arrival.
type gain struct {
	refs  []keyspace.Ref
	first keyspace.Ref // of them by stamp
	late  bool         // the document has later operations
}

// A refolding is one document being folded again.
type refolding struct {
	coll     string
	idKey    []byte
	id       value.Value
	from     keyspace.Ref
	e        *entry  // of the refolder's batch
	ordinal  uint64  // operations before events
	events   []Event // after the cached base, in order
	gone     []Event // of records that the cut leaves out
	start    int     // the first event to be judged again
	cur      keyspace.State
	bases    []keyspace.Head // states to be cached
	unnamed  bool            // no record that is folded names the document
	flipped  bool            // some verdict is another now
	named    *Event          // the last operation until now, if the base holds it: only the head names it
	at       int             // in the refolder's work; -1 if it is loaded
	prepared int             // events before it are prepared, if they are to be
	lined    int             // events that are in the refolder's line, from the first on
	last     keyspace.Ref    // of the head that it was loaded with
	count    uint64
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
// Nothing is written before all is judged. So the work can be done in pieces, with other
// commits in between (rebind), and an error leaves the transaction as it was.
//
//	include ─► close (loads) ─► line (sorts) ─► run (judges) ─► write
type refolder struct {
	b         *batch
	add       map[docKey]*gain // what the documents gain
	set       map[docKey]*refolding
	order     []*refolding
	work      []*refolding // to be loaded, a heap: the earliest place first
	fresh     []*refolding // have got events that are not in line
	err       error        // of the heap's order
	all       []occurrence // in stamp order
	next      int          // the first of all that is not judged
	laws      map[string]lawSeen
	refusals  []refusal // verdicts to be written
	brief     *journal.Record
	baseBytes int
	sparse    uint64 // every how many cached states are kept
}

// A lawSeen says how far a definition's history was when it was asked for.
type lawSeen struct {
	last  keyspace.Ref
	count uint64
}

// An occurrence is an event of one document of the set.
type occurrence struct {
	r *refolding
	i int // in r.events
}

// A refusal is a verdict that may differ from the stored one. Record and operation
// are without bodies, so that many of them take little memory.
type refusal struct {
	at    keyspace.Ref
	rec   *journal.Record
	op    payload.Op
	v     judge.Verdict
	fresh bool // it is the first verdict on the operation
}

func (b *batch) newRefolder() *refolder {
	return &refolder{b: b, add: map[docKey]*gain{}, set: map[docKey]*refolding{}, laws: map[string]lawSeen{}, sparse: 1}
}

// A lateOp is a place from which a document is to be folded again; add says
// that the operation there is new to the document.
type lateOp struct {
	e    *entry
	from keyspace.Ref
	add  bool
}

// refold folds documents again from the given places, and with them, from
// there, those that atomic transactions join to them.
func (b *batch) refold(lates []lateOp) error {
	f := b.newRefolder()
	for _, l := range lates {
		if l.add {
			if err := f.gain(docKey{Coll: l.e.coll.Name, ID: string(l.e.idKey)}, l.from, false); err != nil {
				return err
			}
		}
	}
	for _, l := range lates {
		if err := f.include(l.e.coll.Name, l.e.idKey, l.e.id, l.from); err != nil {
			return err
		}
	}
	for _, r := range f.order {
		r.unnamed = !lates[0].add
	}
	if err := f.judgeAll(); err != nil {
		return err
	}
	return f.write()
}

// judgeAll does all but the writing, without a pause.
func (f *refolder) judgeAll() error {
	for done := false; !done; {
		work := maxPiece
		var err error
		if done, err = f.judgeSome(&work); err != nil {
			return err
		}
	}
	return nil
}

// judgeSome does about so much of the work as is left; it reports whether only the
// writing is to be done.
func (f *refolder) judgeSome(work *int) (done bool, err error) {
	if done, err = f.close(work); !done || *work <= 0 || err != nil {
		return false, err
	}
	if err := f.line(); err != nil {
		return false, err
	}
	return f.run(work)
}

// gain notes that the document k has a new operation at r.
func (f *refolder) gain(k docKey, r keyspace.Ref, late bool) error {
	n := f.add[k]
	if n == nil {
		n = &gain{first: r}
		f.add[k] = n
	}
	n.refs, n.late = append(n.refs, r), n.late || late
	c, err := f.b.compare(r, n.first)
	if c < 0 {
		n.first = r
	}
	return err
}

// include makes a document part of the set from the given place, or from an earlier
// one: that of what it gains, or where it is already.
func (f *refolder) include(coll string, idKey []byte, id value.Value, from keyspace.Ref) error {
	k := docKey{Coll: coll, ID: string(idKey)}
	if coll == judge.SystemCollection && from.Time > everOn.Time {
		from = everOn // a chain is judged as a whole
	}
	if n := f.add[k]; n != nil && from.Time > everOn.Time {
		if c, err := f.b.compare(n.first, from); err != nil {
			return err
		} else if c < 0 {
			from = n.first
		}
	}
	r := f.set[k]
	if r == nil {
		r = &refolding{coll: coll, idKey: slices.Clone(idKey), id: value.Value{Type: id.Type, Data: slices.Clone(id.Data)}, from: from, at: -1, unnamed: f.add[k] == nil}
		f.set[k] = r
		f.order = append(f.order, r)
		heap.Push(f, r)
		return f.err
	}
	if c, err := f.b.compare(from, r.from); c >= 0 || err != nil {
		return err
	}
	if f.next > 0 && r.lined > 0 {
		return errEarlier
	}
	r.from = from
	if r.at >= 0 {
		heap.Fix(f, r.at)
	} else {
		heap.Push(f, r)
	}
	return f.err
}

// Len, Less, Swap, Push and Pop make the refolder's work a heap.
func (f *refolder) Len() int { return len(f.work) }

func (f *refolder) Less(i, j int) bool {
	c, err := f.b.compare(f.work[i].from, f.work[j].from)
	if err != nil {
		f.err = err
	}
	return c < 0
}

func (f *refolder) Swap(i, j int) {
	f.work[i], f.work[j] = f.work[j], f.work[i]
	f.work[i].at, f.work[j].at = i, j
}

// Push implements [heap.Interface].
func (f *refolder) Push(x any) {
	r := x.(*refolding)
	r.at = len(f.work)
	f.work = append(f.work, r)
}

// Pop implements [heap.Interface].
func (f *refolder) Pop() any {
	r := f.work[len(f.work)-1]
	f.work = f.work[:len(f.work)-1]
	r.at = -1
	return r
}

// close loads the documents of the set and follows atomic transactions until the set
// is closed under them. The earliest place is followed first: what is joined lies at
// or after it, so that nearly every document is loaded once.
func (f *refolder) close(work *int) (done bool, err error) {
	for len(f.work) > 0 {
		if *work <= 0 {
			return false, nil
		}
		r := heap.Pop(f).(*refolding)
		if f.err != nil {
			return false, f.err
		}
		if err := f.load(r); err != nil {
			return false, err
		}
		*work -= 1 + len(r.events)/8
		if err := f.join(r.events[r.start:]); err != nil {
			return false, err
		}
	}
	return true, nil
}

// join includes the documents of the atomic transactions that events belong to.
func (f *refolder) join(events []Event) error {
	var last int64
	for i, ev := range events {
		if !ev.atomic || ev.Ref.N == last {
			continue
		}
		last = ev.Ref.N
		rec, err := f.b.recordAhead(last, len(events)-i, func(k int) int64 { return events[i+k].Ref.N })
		if err != nil {
			return err
		}
		for k := range rec.Ops {
			op := &rec.Ops[k]
			if err := f.include(op.Coll, op.Key, op.ID, rec.Ref(0)); err != nil {
				return err
			}
		}
	}
	return nil
}

// load reads r's cached base before its place and the events after it.
func (f *refolder) load(r *refolding) error {
	b := f.b
	e, err := b.entry(r.coll, r.idKey, r.id)
	if err != nil {
		return err
	}
	r.e, r.last, r.count = e, e.Last, e.Count
	r.ordinal, r.events, r.gone, r.cur, r.named = 0, nil, nil, keyspace.State{}, nil
	for i := range r.bases {
		f.baseBytes -= len(r.bases[i].Doc)
	}
	r.bases = nil
	base, ok, err := b.base(e, r.from.Time)
	if err != nil {
		return err
	}
	since := clock.Time(0)
	if ok {
		r.cur, r.ordinal, since = base.State, base.Count, base.Last.Time
	}
	evs, err := b.eventsAfter(e, since)
	if err != nil {
		return err
	}
	if n := f.add[docKey{Coll: r.coll, ID: string(r.idKey)}]; n != nil {
		if evs, err = b.withGain(evs, n); err != nil {
			return err
		}
	}
	r.events = make([]Event, 0, len(evs))
	for _, ev := range evs {
		if ok {
			if c, err := b.compare(ev.Ref, base.Last); err != nil {
				return err
			} else if c <= 0 {
				if ev.known && !ev.kept {
					r.named = &ev
				}
				continue
			}
		}
		gone, err := b.isGone(&ev)
		if err != nil {
			return err
		}
		if gone {
			r.gone = append(r.gone, ev)
			if c, err := b.compare(ev.Ref, r.from); err != nil {
				return err
			} else if c < 0 {
				r.from = ev.Ref // the verdicts after it do not stand
			}
			continue
		}
		r.events = append(r.events, ev)
	}
	f.fresh = append(f.fresh, r)
	return f.stand(r)
}

// withGain puts the new operations of n among the events of a document.
func (b *batch) withGain(evs []Event, n *gain) ([]Event, error) {
	evs = slices.Grow(evs, len(n.refs))
	for _, r := range n.refs {
		rec, err := b.record(r.N)
		if err != nil {
			return nil, err
		}
		evs = append(evs, Event{Ref: r, atomic: rec.Atomic})
	}
	err := b.sort(evs)
	// What an attempt that ended between steps has added is there twice.
	return slices.CompactFunc(evs, func(x, y Event) bool { return x.Ref == y.Ref }), err
}

// stand applies the events before r's place, whose verdicts stand.
func (f *refolder) stand(r *refolding) error {
	for r.start = 0; r.start < len(r.events); r.start++ {
		ev := r.events[r.start]
		if c, err := f.b.compare(ev.Ref, r.from); err != nil {
			return err
		} else if c >= 0 {
			break
		}
		if ev.Code == keyspace.CodeOK {
			rec, err := f.b.recordAhead(ev.Ref.N, len(r.events)-r.start, func(k int) int64 { return r.events[r.start+k].Ref.N })
			if err != nil {
				return err
			}
			r.cur = f.b.judge.Judge(&rec.Ops[ev.Ref.Index], r.cur, ev.Ref.Time, nil).Next
		}
		f.cache(r, r.start)
	}
	return nil
}

// sort puts events in stamp order; of one operation, what was folded before comes first.
func (b *batch) sort(evs []Event) (err error) {
	slices.SortFunc(evs, func(x, y Event) int {
		c, e := b.compare(x.Ref, y.Ref)
		if e != nil {
			err = e
		}
		if c == 0 && x.known != y.known {
			c = 1
			if x.known {
				c = -1
			}
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
	last := Event{Ref: e.Last, Code: e.Code, was: e.Code, atomic: e.Atomic, known: true}
	if e.Count == 1 {
		return []Event{last}, nil
	}
	p := b.fold.Space.Key(keyspace.TagHistory, keyspace.Num(e.coll.Num), e.idKey)
	it := b.tx.Iterate(store.Range{Lower: binary.BigEndian.AppendUint64(bytes.Clone(p), uint64(t)), Upper: store.PrefixEnd(p)})
	defer it.Close()
	early := b.early(e)
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
		if r == e.Last || early(r.N) {
			continue // about to be dropped: the head names it; or not folded yet
		}
		c := keyspace.Code(v[0] >> 1)
		evs = append(evs, Event{Ref: r, Code: c, was: c, atomic: v[0]&1 != 0, known: true, kept: true})
	}
	evs = append(evs, last)
	if err := it.Err(); err != nil {
		return nil, err
	}
	return evs, b.sort(evs)
}
