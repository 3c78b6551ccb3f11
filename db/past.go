package db

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

const (
	// maxPastEvents bounds the history that is read to know what a document was.
	maxPastEvents = 512
	maxPastBytes  = 16 << 20 // of records that are kept decoded
	maxPastDocs   = 4096
)

// catchUp queues changes from the journal, or ends being behind.
func (w *Watch) catchUp(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	v, err := w.db.acquire()
	if err != nil {
		return err
	}
	defer v.release()
	if w.past == nil {
		w.past = &past{inexact: map[string]bool{}}
	}
	p := w.past
	p.open(w.db, v)
	if w.gaps != v.gaps {
		if err := w.queueGaps(v); err != nil {
			return err
		}
	}
	done, err := w.readRecords(v)
	if err != nil {
		return err
	}
	if done {
		w.pos, w.place, w.behind, w.past = v.seq, v.place(), false, nil
		if k := len(w.queue); k > 0 {
			w.queue[k-1].upTo = w.place
		}
	}
	return nil
}

// queueGaps tells the gaps since the watch's place.
func (w *Watch) queueGaps(v *view) error {
	colls, err := v.gapsSince(w.db, w.gaps)
	if err != nil {
		return err
	}
	for _, c := range colls {
		w.past.inexact[c] = true
		if c == "" || w.sub.g.covers(c) {
			w.queue = append(w.queue, told{gap: c, upTo: w.place})
		}
	}
	w.gaps = v.gaps
	if k := len(w.queue); k > 0 {
		w.queue[k-1].upTo = w.place
	}
	return nil
}

// readRecords queues what the next records of the journal changed, as far as v
// has them, and reports whether these were the last.
func (w *Watch) readRecords(v *view) (done bool, err error) {
	from, last := w.at, v.n
	if w.at == v.n {
		from = max(w.at, w.ahead)
	}
	if k := len(v.ahead); k > 0 {
		last = max(last, v.ahead[k-1].last)
	}
	as, err := w.db.journal.Arrivals(from, maxQueued/8)
	if err != nil {
		return false, err
	}
	if len(as) == 0 && from < last { // the rest was cut off; a gap is told
		w.place = place{at: max(w.at, v.n), ahead: max(w.ahead, last), gaps: w.gaps}
	}
	for i := range as {
		n := as[i].N
		if n > last {
			break
		}
		next := w.place
		if n <= v.n {
			next.at = n
		} else if n <= w.ahead || !isAhead(v.ahead, n) {
			continue // told already, or not folded: it comes when the cursor passes it
		} else {
			next.ahead = n
		}
		cs, err := w.changes(v, decode(&as[i]))
		if err != nil {
			return false, err
		}
		w.queuePast(cs, next)
	}
	if len(as) > 0 && as[len(as)-1].N < last {
		return false, nil
	}
	if w.sub.g.ops&opOther != 0 {
		// What was noted when there was no record to note it with.
		cs, err := w.past.noted(w.sub.g, v.n+1)
		if err != nil {
			return false, err
		}
		w.queuePast(cs, w.place)
	}
	return true, nil
}

func (w *Watch) queuePast(cs []change, next place) {
	for i := range cs {
		t := told{change: &cs[i], upTo: w.place}
		if i == len(cs)-1 {
			t.upTo = next
		}
		w.queue = append(w.queue, t)
	}
	w.place = next
}

// changes tells what the operations of a record did, as far as it is known now.
func (w *Watch) changes(v *view, rec *record) (out []change, err error) {
	p, m := w.past, w.sub.g
	p.keep(rec)
	seen := map[string]bool{}
	for i := range rec.ops {
		if rec.snapshot {
			break // it changes nothing that a gap does not tell
		}
		op := &rec.ops[i]
		coll := v.cat.colls[op.Coll]
		k := op.Coll + "\x00" + string(op.Key)
		if coll == nil || seen[k] || !m.covers(op.Coll) || m.ops&opDocs == 0 || m.idKey != nil && !bytes.Equal(m.idKey, op.Key) {
			continue
		}
		c := change{
			op: opUpdate, coll: op.Coll, idKey: op.Key, id: op.ID, by: rec.id, time: rec.time, remote: !v.own[rec.id.Log],
		}
		if op.Kind == payload.Replace {
			c.op = opReplace
		}
		known, did, err := p.lookup(coll, op, rec.ref(i), &c)
		if err != nil {
			return nil, err
		}
		if !known {
			seen[k] = true // it is told as it is now, so once
			f, err := v.get(w.db, coll, op.Key)
			if err != nil {
				return nil, err
			}
			if c.current, did = true, true; f != nil {
				c.after = f.state
			}
		}
		switch {
		case !did:
			continue
		case c.after.doc == nil:
			c.op = opDelete
		case known && c.before.doc == nil:
			c.op = opInsert
		case !known && op.Kind == payload.Insert:
			c.op = opInsert
		}
		if m.matches(&c) {
			out = append(out, c)
		}
	}
	if m.ops&opOther != 0 {
		cs, err := p.noted(m, rec.n)
		return append(out, cs...), err
	}
	return out, nil
}

// A past tells what documents were, from their histories, by the standing
// verdicts.
type past struct {
	db      *DB
	v       *view
	judge   judge
	docs    map[string]*pastDoc
	recs    map[int64]*record
	bytes   int
	inexact map[string]bool // collections where verdicts may have changed; "" is all
}

// A pastDoc is a document's history, and its state after some of it.
type pastDoc struct {
	events []event // in the order of the keys, which is that of stamps but for equal times
	exact  bool
	at     int // cur is the state after events[:at]; -1 before any is known
	cur    state
}

func (p *past) open(db *DB, v *view) {
	p.db, p.v, p.docs = db, v, map[string]*pastDoc{}
	if p.recs == nil {
		p.recs = map[int64]*record{}
	}
}

func (p *past) keep(rec *record) {
	if p.bytes > maxPastBytes {
		clear(p.recs)
		p.bytes = 0
	}
	p.recs[rec.n] = rec
	p.bytes += 256
	for i := range rec.ops {
		p.bytes += rec.ops[i].Size()
	}
}

func (p *past) record(n int64) (*record, error) {
	if r := p.recs[n]; r != nil {
		return r, nil
	}
	as, err := p.db.journal.Arrivals(n-1, 1)
	if err != nil {
		return nil, err
	}
	if len(as) == 0 || as[0].N != n {
		return nil, errLost
	}
	r := decode(&as[0])
	p.keep(r)
	return r, nil
}

// lookup sets c's documents before and after the operation at r. known is false
// if the history cannot tell; did is false if the operation changed nothing.
func (p *past) lookup(coll *coll, op *payload.Op, r ref, c *change) (known, did bool, err error) {
	if p.inexact[""] || p.inexact[coll.name] {
		return false, false, nil
	}
	d, err := p.doc(coll, op.Key)
	if err != nil || !d.exact {
		return false, false, err
	}
	i := slices.IndexFunc(d.events, func(ev event) bool { return ev.ref == r })
	if i < 0 {
		return true, false, nil // of a log that is void now
	}
	if !d.inOrder(i) {
		return false, false, nil
	}
	if d.events[i].code != codeOK {
		return true, false, nil
	}
	if err := p.advance(coll, op.Key, d, i); err != nil {
		return false, false, err
	}
	c.before = d.cur
	if err := p.advance(coll, op.Key, d, i+1); err != nil {
		return false, false, err
	}
	c.after = d.cur
	return true, !sameState(c.before, c.after) && (c.before.doc != nil || c.after.doc != nil), nil
}

// inOrder reports whether the events up to i arrived before all after it, and
// their order is known without their stamps: then their fold is what the
// document was.
func (d *pastDoc) inOrder(i int) bool {
	at := d.events[i].ref
	for k, ev := range d.events {
		sameRecord := ev.ref.n == at.n
		switch {
		case k < i && ev.ref.n > at.n, k > i && ev.ref.n < at.n:
			return false
		case k > 0 && k <= i+1 && ev.ref.time == d.events[k-1].ref.time && ev.ref.n != d.events[k-1].ref.n:
			return false
		case sameRecord && (k < i) != (ev.ref.index < at.index) && k != i:
			return false
		}
	}
	return true
}

// doc reads a document's history.
func (p *past) doc(coll *coll, idKey []byte) (*pastDoc, error) {
	k := coll.name + "\x00" + string(idKey)
	if d := p.docs[k]; d != nil {
		return d, nil
	}
	if len(p.docs) >= maxPastDocs {
		clear(p.docs)
	}
	d := &pastDoc{at: -1}
	p.docs[k] = d
	h, err := p.v.head(p.db, coll, idKey)
	if err != nil || h.count > maxPastEvents {
		return d, err
	}
	d.exact = true
	if h.count == 0 {
		return d, nil
	}
	prefix := p.db.key(tagHistory, num(coll.num), idKey)
	it := p.v.snap.Iterate(store.Prefix(prefix))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		s := scanner{b: it.Key()[len(prefix):]}
		r := s.ref()
		if s.bad || len(s.b) > 0 {
			d.exact = false // of a longer _id, or corrupt: not worth more
			return d, nil
		}
		val, err := it.Value()
		if err != nil {
			return nil, err
		}
		if len(val) != 1 {
			return nil, errCorrupt
		}
		d.events = append(d.events, event{ref: r, code: code(val[0] >> 1)})
	}
	d.events = append(d.events, event{ref: h.last, code: h.code})
	d.exact = uint64(len(d.events)) == h.count
	return d, it.Err()
}

// advance makes d.cur the state after events[:i].
func (p *past) advance(coll *coll, idKey []byte, d *pastDoc, i int) error {
	if d.at < 0 || d.at > i {
		if err := p.begin(coll, idKey, d, i); err != nil {
			return err
		}
	}
	for ; d.at < i; d.at++ {
		ev := d.events[d.at]
		if ev.code != codeOK {
			continue
		}
		rec, err := p.record(ev.ref.n)
		if err != nil {
			return err
		}
		if int(ev.ref.index) >= len(rec.ops) {
			return errCorrupt
		}
		d.cur = p.judge.judge(&rec.ops[ev.ref.index], d.cur, rec.time, nil).next
	}
	return nil
}

// begin sets d.cur to the last cached state of events[:i].
func (p *past) begin(coll *coll, idKey []byte, d *pastDoc, i int) error {
	d.at, d.cur = 0, state{}
	if i == 0 {
		return nil
	}
	prefix := p.db.key(tagBase, num(coll.num), idKey)
	upper := binary.BigEndian.AppendUint64(bytes.Clone(prefix), uint64(d.events[i-1].ref.time))
	it := p.v.snap.Iterate(store.Range{Lower: prefix, Upper: upper, Reverse: true})
	defer it.Close()
	if !it.Valid() {
		return it.Err()
	}
	val, err := it.Value()
	if err != nil {
		return err
	}
	h, err := parseHead(bytes.Clone(val))
	if err != nil {
		return err
	}
	if k := slices.IndexFunc(d.events[:i], func(ev event) bool { return ev.ref == h.last }); k >= 0 {
		d.at, d.cur = k+1, h.state
	}
	return nil
}

// noted tells what was noted at arrival n of refusals and conflicts.
func (p *past) noted(m *group, n int64) ([]change, error) {
	out, err := p.refusals(m, n)
	if err != nil {
		return nil, err
	}
	cs, err := p.conflicts(m, n)
	return append(out, cs...), err
}

// refusals tells the refusals that were noted at arrival n.
func (p *past) refusals(m *group, n int64) (out []change, err error) {
	prefix := p.db.key(tagNoted, binary.BigEndian.AppendUint64(nil, uint64(n)))
	it := p.v.snap.Iterate(store.Range{Lower: prefix, Upper: store.PrefixEnd(prefix), KeysOnly: true})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		s := scanner{b: it.Key()[len(prefix):]}
		r := s.ref()
		if s.bad {
			return nil, errCorrupt
		}
		c, err := p.refusal(r)
		if errors.Is(err, errLost) {
			continue // its record was cut off
		}
		if err != nil {
			return nil, err
		}
		if m.covers(c.coll) && m.matches(c) {
			out = append(out, *c)
		}
	}
	return out, it.Err()
}

// refusal tells what has become of the refusal at r.
func (p *past) refusal(r ref) (*change, error) {
	rec, err := p.record(r.n)
	if err != nil {
		return nil, err
	}
	c := &change{op: opCleared, by: rec.id, time: rec.time, remote: !p.v.own[rec.id.Log]}
	c.refusal = &refusal{stamp: clock.Stamp{Time: r.time, Log: rec.id.Log, Hash: rec.id.Hash, Index: r.index}, seq: rec.id.Seq}
	if rec.bad == nil && int(r.index) < len(rec.ops) {
		op := &rec.ops[r.index]
		c.of(op)
	}
	doc, err := p.v.refusal(p.db, r)
	if err != nil || doc == nil {
		return c, err
	}
	n, _ := value.Get(doc, "code").Raw().Int32OK()
	c.op, c.refusal.code, c.refusal.message = opRefused, code(n), string(value.Get(doc, "message").Str())
	return c, nil
}
