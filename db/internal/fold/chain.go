package fold

import (
	"bytes"
	"errors"
	"maps"
	"slices"

	"github.com/weftdb/weft/db/internal/define"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// Which definition judges an operation is a matter of what definitions have seen, not of
// places: one that comes later by stamp may judge what comes before. So a chain of
// definitions is found by itself, of all that is known of it, and then a document of the
// system collection is folded from the beginning with the verdicts of its chain.
//
//	definitions   d1 by the owner, d2 by an admin that had not seen it     d2 is stale
//	operation x   seen by d1                                               judged by none
//	operation y   dated before d1, not seen by it                          judged by d1

// chainOf returns the chain of the definition e.
func (b *batch) chainOf(e *entry) (*define.Chain, error) {
	l, k := &b.fold.laws, string(e.idKey)
	key := l.KeyOf(k, &e.Head, b.pending)
	for _, had := range []define.Keyed{b.chains[k], l.Chains[k]} {
		if had.Chain != nil && had.Key == key {
			return had.Chain, nil
		}
	}
	was := b.chains[k]
	if was.Chain == nil {
		was = l.Chains[k]
	}
	recs, had := map[int64]*journal.Record{}, was.Chain.Records()
	evs, err := b.eventsAfter(e, 0)
	if err != nil {
		return nil, err
	}
	var base []byte
	for i, ev := range evs {
		if rec := had[ev.Ref.N]; rec != nil {
			recs[rec.N] = rec
			continue
		}
		rec, err := b.recordAhead(ev.Ref.N, len(evs)-i, func(n int) int64 { return evs[i+n].Ref.N })
		if err != nil {
			return nil, err
		}
		if rec.Snapshot && !b.fold.cut.Voids(rec.ID, true) {
			base = rec.Ops[ev.Ref.Index].Doc
		}
		recs[rec.N] = rec
	}
	maps.Copy(recs, b.pending[k])
	c, err := l.Fold(recs, base, was)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(c.Links, func(l *define.Link) bool { return !l.Whole }) && !l.Awaited[k] {
		l.Awaited[k] = false
	}
	if stored := e.Last == e.was.Last && e.Count == e.was.Count && len(b.pending[k]) == 0; stored && !b.stepping {
		l.Chains[k] = define.Keyed{Key: key, Chain: c}
	} else {
		b.chains[k] = define.Keyed{Key: key, Chain: c}
	}
	return c, nil
}

// lawFor returns the definition of a collection that judges an operation of rec; nil for
// none.
func (b *batch) lawFor(name string, rec *journal.Record) (*judge.Definition, error) {
	if name == judge.SystemCollection {
		return nil, nil
	}
	d, err := b.definitionOf(name)
	if err != nil {
		return nil, err
	}
	if d.Count == 0 && len(b.pending[string(d.idKey)]) == 0 {
		return nil, nil
	}
	c, err := b.chainOf(d)
	if err != nil {
		return nil, err
	}
	doc, err := c.At(rec.ID)
	if err != nil {
		return nil, err
	}
	return b.fold.defs.Parse(doc)
}

// decide judges operation i of a record on cur; def is the law, if it is for a document.
func (b *batch) decide(rec *journal.Record, i int, e *entry, cur keyspace.State, def *judge.Definition) (judge.Verdict, error) {
	op, by := &rec.Ops[i], rec.Author()
	if op.Coll != judge.SystemCollection || op.Kind == payload.State {
		return b.judge.Decide(op, cur, by, def), nil
	}
	if rec.View == nil {
		by.Right = judge.RolePlain
		return b.judge.Decide(op, cur, by, nil), nil
	}
	c, err := b.chainOf(e)
	if err != nil {
		return judge.Verdict{}, err
	}
	l := c.Of(rec.ID)
	if l == nil {
		return judge.Verdict{}, fault.Of(keyspace.ErrCorrupt, "definition %s is not in its chain", rec.ID)
	}
	if l.Code != keyspace.CodeOK {
		return judge.Verdict{Next: cur, Code: l.Code, Err: l.Err}, nil
	}
	return judge.Placed(l.Next, cur, rec.Time), nil
}

// accepted returns the records of the definitions that hold, as e was folded, in their order.
func (b *batch) accepted(e *entry) (recs []*journal.Record, err error) {
	evs, err := b.eventsAfter(e, 0)
	for i, ev := range evs {
		if ev.Code != keyspace.CodeOK {
			continue
		}
		rec, err := b.recordAhead(ev.Ref.N, len(evs)-i, func(n int) int64 { return evs[i+n].Ref.N })
		if err != nil {
			return nil, err
		}
		if rec.View != nil || rec.Snapshot {
			recs = append(recs, rec)
		}
	}
	return recs, err
}

// relaw says from where on documents are to be judged again, as other definitions hold than
// did before; ok is false for nowhere.
func (b *batch) relaw(e *entry, before, now []*journal.Record) (from keyspace.Ref, ok bool, err error) {
	same := func(x, y *journal.Record) bool { return x.N == y.N }
	if len(now) < len(before) || !slices.EqualFunc(before, now[:len(before)], same) {
		return everOn, true, nil
	}
	c, err := b.chainOf(e)
	if err != nil {
		return from, false, err
	}
	base := judge.LawOf(c.Base)
	differ := false // some link has another law than the base
	for i, rec := range now {
		l := c.Of(rec.ID)
		if l == nil {
			continue // of a snapshot, which is the base
		}
		if differ = differ || judge.LawOf(l.Next.Doc) != base; i < len(before) || !differ {
			continue
		}
		// What it has not seen is judged by it now. It may have the law of the one before it,
		// and yet not of the one that judged that.
		at, some, err := b.fold.Journal.Unseen(append(slices.Clone(rec.View), rec.ID))
		if err != nil {
			return from, false, err
		}
		if some && (!ok || at < from.Time) {
			from, ok = keyspace.Ref{Time: at}, true
		}
	}
	return from, ok, nil
}

// awaken judges definitions again whose named records have come.
func (f *Fold) awaken() error {
	if len(f.laws.Awaited) == 0 {
		return nil
	}
	b := f.newBatch()
	defer b.discard()
	for k := range f.laws.Awaited {
		e, err := b.entry(judge.SystemCollection, []byte(k), value.Value{})
		if err != nil {
			return err
		}
		if other, err := b.fares(e); err != nil {
			return err
		} else if other {
			return f.judgeAnew(f.authority)
		}
	}
	return nil
}

// fares reports whether a link of e's chain would be judged otherwise now.
func (b *batch) fares(e *entry) (bool, error) {
	c, err := b.chainOf(e)
	if err != nil {
		return false, err
	}
	evs, err := b.eventsAfter(e, 0)
	if err != nil {
		return false, err
	}
	codes := map[int64]keyspace.Code{}
	for _, ev := range evs {
		codes[ev.Ref.N] = ev.Code
	}
	return b.fold.laws.Fares(c, func(n int64) (keyspace.Code, bool) { code, ok := codes[n]; return code, ok })
}

// judgeAnew judges all definitions again, in one transaction or in steps.
func (f *Fold) judgeAnew(authority clock.Hash) error {
	if err := f.dropMerge(); err != nil { // it may have judged by what was defined
		return err
	}
	waited := maps.Clone(f.laws.Awaited)
	f.laws.Renew()
	err := f.judgeDefinitions(authority, false)
	if errors.Is(err, store.ErrTooBig) {
		f.laws.Renew()
		err = f.breaks(f.judgeDefinitions(authority, true))
	}
	if err != nil { // they wait as before
		maps.Copy(f.laws.Awaited, waited)
	}
	return err
}

// forgetAwaited takes back what is noted of definitions that wait; who judges them again
// notes it anew.
func (b *batch) forgetAwaited() error {
	clear(b.fold.laws.Awaited)
	p := b.fold.Space.Key(keyspace.TagAwaited)
	keys, err := keyspace.Keys(b.tx, p)
	for _, k := range keys {
		if err == nil {
			err = b.del(append(bytes.Clone(p), k...))
		}
	}
	return err
}

// saveAwaited notes which definitions wait.
func (b *batch) saveAwaited() error {
	for k, stored := range b.fold.laws.Awaited {
		if stored {
			continue
		}
		if err := b.tx.Put(b.fold.Space.Key(keyspace.TagAwaited, []byte(k)), []byte{1}); err != nil {
			return err
		}
		b.noted = append(b.noted, k)
	}
	return nil
}

// loadAwaited reads which definitions wait.
func (f *Fold) loadAwaited(r store.Reader) error {
	keys, err := keyspace.Keys(r, f.Space.Key(keyspace.TagAwaited))
	for _, k := range keys {
		f.laws.Awaited[string(k)] = true
	}
	return err
}

// testify has a record say what this device has: everything that it holds.
func (f *Fold) testify(rec *journal.Record) {
	rec.View = append([]clock.RecordID{}, f.Journal.View(payload.MaxView)...)
	rec.Time = f.Clock.Now() // later than all of it
	rec.Clock = rec.Time
}
