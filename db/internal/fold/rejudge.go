package fold

import (
	"errors"
	"slices"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
)

// maxPiece bounds the work that is done between two groups of local writes: an
// operation judged counts 1, and 1 more for each 16 KiB of its document.
const (
	maxPiece  = 512
	pieceUnit = 16 << 10
)

// maxBaseBytes bounds the states that one refold keeps in memory to cache them.
const maxBaseBytes = 8 << 20

// errEarlier reports a commit in between two pieces that changes what was judged already:
// all is to be judged again.
var errEarlier = errors.New("an operation was put before what is judged")

// line puts the events to be judged in stamp order: those of all documents that were
// loaded since, which come after what is judged.
func (f *refolder) line() (err error) {
	n := len(f.all)
	for _, r := range f.fresh {
		for i := max(r.start, r.lined); i < len(r.events); i++ {
			f.all = append(f.all, occurrence{r, i})
		}
		r.lined = len(r.events)
	}
	f.fresh = nil
	if len(f.all) == n {
		return nil
	}
	slices.SortFunc(f.all[f.next:], func(x, y occurrence) int {
		c, e := f.b.compare(x.ref(), y.ref())
		if e != nil {
			err = e
		}
		return c
	})
	if err == nil && f.next > 0 {
		c := 0
		if c, err = f.b.compare(f.all[f.next-1].ref(), f.all[f.next].ref()); c >= 0 && err == nil {
			return errEarlier
		}
	}
	return err
}

func (o occurrence) ref() keyspace.Ref { return o.r.events[o.i].Ref }

// run judges events again, in stamp order, about as much as is left of work; done
// says that all are judged.
func (f *refolder) run(work *int) (done bool, err error) {
	for f.next < len(f.all) {
		if *work <= 0 {
			return false, nil
		}
		os := f.all[f.next:]
		n := 1
		first := os[0].r.events[os[0].i]
		for first.atomic && n < len(os) && os[n].ref().N == first.Ref.N {
			n++
		}
		if err := f.judge(os[:n], os); err != nil {
			return false, err
		}
		f.next += n
		for _, o := range os[:n] {
			*work -= 1 + len(o.r.cur.Doc)/pieceUnit
		}
	}
	return true, nil
}

// judge judges one operation, or all of an atomic transaction; ahead are those that
// come next.
func (f *refolder) judge(os, ahead []occurrence) error {
	rec, err := f.b.recordAhead(os[0].ref().N, len(ahead), func(i int) int64 { return ahead[i].ref().N })
	if err != nil {
		return err
	}
	var one [1]keyspace.State
	var verdict [1]judge.Verdict
	old, vs := one[:0], verdict[:0]
	refused := false
	for _, o := range os {
		ev := o.r.events[o.i]
		op := &rec.Ops[ev.Ref.Index]
		def, err := f.definition(op.Coll, rec)
		if err != nil {
			return err
		}
		old = append(old, o.r.cur)
		v, err := f.b.decide(rec, int(ev.Ref.Index), o.r.e, o.r.cur, def)
		if err != nil {
			return err
		}
		o.r.cur = v.Next
		refused = refused || v.Code != keyspace.CodeOK
		vs = append(vs, v)
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
		f.settle(o, rec, vs[k])
	}
	return nil
}

// settle keeps the verdict of an occurrence, and a state to be cached where one is due.
func (f *refolder) settle(o occurrence, rec *journal.Record, v judge.Verdict) {
	ev := &o.r.events[o.i]
	if v.Code != keyspace.CodeOK || ev.known && ev.Code != keyspace.CodeOK || f.b.resumed {
		if f.brief == nil || f.brief.N != rec.N {
			f.brief = &journal.Record{N: rec.N, ID: rec.ID, Time: rec.Time, Atomic: rec.Atomic, Snapshot: rec.Snapshot}
		}
		op := &rec.Ops[ev.Ref.Index]
		v.Next = keyspace.State{}
		f.refusals = append(f.refusals, refusal{ev.Ref, f.brief, payload.Op{
			Kind: op.Kind, Coll: op.Coll, Key: slices.Clone(op.Key), ID: value.Value{Type: op.ID.Type, Data: slices.Clone(op.ID.Data)},
		}, v, !ev.known && !f.b.elsewhere[ev.Ref.N]})
	}
	o.r.flipped = o.r.flipped || ev.known && ev.was != v.Code
	ev.Code = v.Code
	f.cache(o.r, o.i)
}

// cache keeps r's state after event i to be cached, if one is due there. Within an
// atomic transaction a document's state is not settled before its last operation, so
// none is cached there. Of large documents with many operations fewer are cached.
func (f *refolder) cache(r *refolding, i int) {
	ev := &r.events[i]
	n := r.ordinal + uint64(i) + 1
	if ev.atomic || n%f.sparse != 0 || !f.b.fold.due(n/f.sparse, &r.cur) {
		return
	}
	r.bases = append(r.bases, keyspace.Head{Last: ev.Ref, Code: ev.Code, Atomic: ev.atomic, Count: n, State: r.cur})
	f.baseBytes += len(r.cur.Doc)
	for f.baseBytes > maxBaseBytes && f.sparse < 1<<20 {
		f.sparse *= 2
		for _, r := range f.order {
			r.bases = slices.DeleteFunc(r.bases, func(h keyspace.Head) bool {
				drop := h.Count%f.sparse != 0 || !f.b.fold.due(h.Count/f.sparse, &h.State)
				if drop {
					f.baseBytes -= len(h.Doc)
				}
				return drop
			})
		}
	}
}

// definition returns the law for an operation of rec, and remembers by what it was found.
func (f *refolder) definition(name string, rec *journal.Record) (*judge.Definition, error) {
	if name == judge.SystemCollection {
		return nil, nil
	}
	d, err := f.b.definitionOf(name)
	if err != nil {
		return nil, err
	}
	if f.set[docKey{Coll: judge.SystemCollection, ID: string(d.idKey)}] == nil {
		f.laws[name] = lawSeen{d.Last, d.Count}
	}
	return f.b.lawFor(name, rec)
}

// rebind makes b the refolder's batch, which may see commits that came between two
// pieces: what they added to documents of the set is to be judged, too. errEarlier
// says that they changed more.
func (f *refolder) rebind(b *batch) error {
	f.b = b
	for name, m := range f.laws {
		d, err := b.definitionOf(name)
		if err != nil {
			return err
		}
		if d.Last != m.last || d.Count != m.count {
			return errEarlier
		}
	}
	for _, r := range slices.Clone(f.order) {
		e, err := b.entry(r.coll, r.idKey, r.id)
		if err != nil {
			return err
		}
		r.e = e
		if e.Last == r.last && e.Count == r.count {
			continue
		}
		if r.coll == judge.SystemCollection {
			return errEarlier
		}
		if err := f.grow(r); err != nil {
			return err
		}
	}
	return nil
}

// grow adds the operations that r's document has got since it was loaded.
func (f *refolder) grow(r *refolding) error {
	evs, err := f.b.eventsAfter(r.e, r.last.Time)
	if err != nil {
		return err
	}
	if r.count > 0 {
		i := slices.IndexFunc(evs, func(ev Event) bool { return ev.Ref == r.last })
		if i < 0 {
			return errEarlier
		}
		evs = evs[i+1:]
		// The history names now what only the head had named.
		r.named = nil
		for k := range r.events {
			if ev := &r.events[k]; ev.Ref == r.last {
				ev.kept = true
			}
		}
	}
	if uint64(len(evs)) != r.e.Count-r.count {
		return errEarlier
	}
	for _, ev := range evs {
		if k := len(r.events); k > 0 {
			if c, err := f.b.compare(r.events[k-1].Ref, ev.Ref); err != nil {
				return err
			} else if c >= 0 {
				return errEarlier
			}
		}
		r.events = append(r.events, ev)
	}
	r.last, r.count = r.e.Last, r.e.Count
	f.fresh = append(f.fresh, r)
	return f.join(evs)
}
