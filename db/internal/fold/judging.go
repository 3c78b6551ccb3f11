package fold

import (
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// judgeGroup judges requests in order against the states that the ones before leave.
func (b *batch) judgeGroup(group []*Request) (accepted []*judged, took int, err error) {
	for i, r := range group {
		r.Results, r.Changed, r.Err = make([]error, len(r.Ops)), make([]bool, len(r.Ops)), nil
		if err := r.Ctx.Err(); err != nil {
			r.Err = err
			continue
		}
		if r.After != nil && r.After.stopped() {
			r.Err = ErrStopped
			continue
		}
		for from := 0; from < max(len(r.Ops), 1); {
			p, next, err := b.judgeRequest(r, from)
			if err != nil {
				return nil, i, err
			}
			if p != nil && p.slow {
				if len(accepted) > 0 && from == 0 {
					return accepted, i, nil
				}
				return append(accepted, p), i + 1, nil
			}
			if p != nil {
				accepted = append(accepted, p)
			}
			from = next
		}
	}
	return accepted, len(group), nil
}

// errDefinitionAlone reports a transaction that defines something and does more.
var errDefinitionAlone = fault.New(fault.InvalidArgument, "a change of a definition is a transaction of its own")

// ErrStopped reports an operation of an ordered call that comes after a refused one.
var ErrStopped = fault.New(fault.Atomic, "not written, because an earlier operation was refused")

// judgeRequest judges one request, from one of its operations on, and returns where
// the next record begins; nil if nothing of it is to be written. A request is one
// record, unless that would cause more work than a record may (judge.MaxWork) and its
// operations are independent.
//
// Judging writes nothing: it lays what each operation leaves over the documents (spec),
// for the next one to see, of this request or of a later one in the group. A request
// that fails whole takes its layers off again (undo).
//
//	request 1   insert {_id: 1, n: 0}     spec {n: 0}
//	request 2   {_id: 1} $inc n           judged on {n: 0}: spec {n: 1}
//	request 3   insert {_id: 1}           duplicate: answered, not logged
//
// Stamps of one device rise, so what it writes is normally last in each document's
// history. If it is not, because a record of a clock that is ahead was folded, the fold
// must place it (slow); that request ends its group.
func (b *batch) judgeRequest(r *Request, from int) (_ *judged, next int, err error) {
	end := max(len(r.Ops), 1)
	if r.Horizon {
		p, err := b.judgeHorizon(r)
		return p, end, err
	}
	for _, g := range r.Guards {
		e, err := b.entry(g.Coll, g.IDKey, keyspace.ValueNone)
		if err != nil {
			return nil, end, err
		}
		// Last and Count change with every operation, refused ones too, and also if one
		// was put in before the last.
		if e.spec != nil || e.Last != g.Last || e.Count != g.Count {
			r.Err = keyspace.ErrConflict
			return nil, end, nil
		}
	}
	if same, err := b.holds(r); err != nil || !same {
		r.Err = keyspace.ErrConflict
		return nil, end, err
	}
	p := &judged{req: r, from: from, rec: b.fold.ownRecord(b.fold.Clock.Now(), r.Atomic, nil)}
	by := p.rec.Author()
	whole := r.Atomic || r.Mode == Whole
	if whole && len(r.Ops) > 1 {
		by.Ops = len(r.Ops) * judge.Headroom
	}
	work := 0 // of the costliest operation
	var undo []keyspace.State
	for i := from; i < len(r.Ops); i++ {
		op := &r.Ops[i]
		e, err := b.entry(op.Coll, op.Key, op.ID)
		if err != nil {
			return nil, end, err
		}
		if e.id.Type == 0 {
			e.id = op.ID
		}
		if e.Count > 0 && e.Last.Time >= p.rec.Time {
			b.undo(p, undo)
			r.Was = e.current()
			return &judged{req: r, from: from, rec: b.fold.ownRecord(p.rec.Time, r.Atomic, r.Ops[from:]), slow: true}, end, nil
		}
		def, err := b.specDefinition(op.Coll)
		if err != nil {
			return nil, end, err
		}
		cur := e.current()
		if op.Coll == judge.SystemCollection {
			if by.Right, _, err = b.fold.Journal.Right(clock.RecordID{}); err != nil {
				return nil, end, err
			}
		}
		v := b.judge.Decide(op, cur, by, def)
		if n := len(p.rec.Ops); !whole && n > 0 && !judge.FitsShare(n+1, max(work, b.judge.Work)) {
			return p, i, nil
		}
		work = max(work, b.judge.Work)
		if v.Code == keyspace.CodeOK && op.Coll == judge.SystemCollection && judge.Defines(cur.Doc, v.Next.Doc) {
			if len(r.Ops) > 1 {
				b.undo(p, undo)
				r.Err = errDefinitionAlone
				return nil, end, nil
			}
			d := b.fold.ownRecord(p.rec.Time, r.Atomic, r.Ops)
			b.fold.testify(d)
			r.Was = cur
			return &judged{req: r, from: from, rec: d, slow: true}, end, nil
		}
		if v.Code == keyspace.CodeOK {
			if v.Err, err = b.violation(e, cur.Doc, v.Next.Doc); err != nil {
				return nil, end, err
			}
			if v.Err != nil {
				v.Code = keyspace.CodeDuplicate
			}
		}
		r.Results[i] = v.Err
		if v.Code != keyspace.CodeOK {
			if r.Mode == Whole {
				b.undo(p, undo)
				r.Err = v.Err
				return nil, end, nil
			}
			if r.Mode == Ordered {
				break
			}
			continue
		}
		r.Changed[i] = !keyspace.SameState(cur, v.Next)
		if r.Keep {
			r.Was, r.Now = cur, v.Next
		}
		undo = append(undo, cur)
		b.speculate(e, &v.Next)
		p.entries, p.vs = append(p.entries, e), append(p.vs, v)
		p.rec.Ops = append(p.rec.Ops, *op)
		if r.Seeds != nil {
			p.rec.Seeds = append(p.rec.Seeds, r.Seeds[i])
		}
	}
	if len(p.rec.Ops) == 0 {
		return nil, end, nil
	}
	return p, end, nil
}

// undo takes off what judging p laid over its documents, the last first: an operation
// may have followed another on the same document.
func (b *batch) undo(p *judged, old []keyspace.State) {
	for i := len(old) - 1; i >= 0; i-- {
		b.speculate(p.entries[i], &old[i])
	}
}

// current returns the state that the requests judged so far leave.
func (e *entry) current() keyspace.State {
	if e.spec != nil {
		return *e.spec
	}
	return e.State
}

// specDefinition returns what will define the collection once the requests judged so far
// are written; local operations come after any definition that is folded.
func (b *batch) specDefinition(name string) (*judge.Definition, error) {
	if name == judge.SystemCollection {
		return nil, nil
	}
	d, err := b.definitionOf(name)
	if err != nil {
		return nil, err
	}
	return b.fold.defs.Parse(d.current().Doc)
}
