package thread

import (
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// Has reports whether a record is held.
func (t *Thread) Has(id clock.RecordID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.logs[id.Log]
	if id.Seq <= t.cuts.floor(id.Log).Seq {
		return true
	}
	if l == nil {
		return false
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	return t.held(snap, l, id)
}

// held is has, with the log at hand; mu is held.
func (t *Thread) held(r store.Reader, l *threadLog, id clock.RecordID) bool {
	if id.Seq <= l.start() {
		return true
	}
	var top uint64
	for _, b := range l.branches {
		if b.Tip == id {
			return true
		}
		top = max(top, b.Tip.Seq)
	}
	if id.Seq > top {
		return false
	}
	_, err := t.rows.Record(r, l.Num, id)
	return err == nil
}

// An Entry is a data record, opened.
type Entry struct {
	ID      clock.RecordID
	Time    clock.Time
	Atomic  bool
	Payload []byte // must not be changed

	Snapshot bool // of a snapshot log
}

// Entry returns one data record, opened.
func (t *Thread) Entry(id clock.RecordID) (Entry, error) {
	t.mu.Lock()
	l, k := t.logs[id.Log], t.keys
	t.mu.Unlock()
	if l == nil || l.Desc.Kind != format.KindData {
		return Entry{}, fault.Of(ErrNotFound, "no record %s", id)
	}
	if !k.CanRead() {
		return Entry{}, ErrNoKeys
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	s, err := t.rows.Record(snap, l.Num, id)
	if err != nil {
		return Entry{}, err
	}
	return t.openEntry(&k, id, s.Record)
}

// openEntry opens a data record that is held.
func (t *Thread) openEntry(k *format.Keys, id clock.RecordID, raw format.Record) (Entry, error) {
	h, err := format.DecodeHeader(raw.Header)
	if err != nil {
		return Entry{}, err
	}
	read, ok := k.Read(h.Epochs)
	if !ok {
		return Entry{}, errEpoch
	}
	b, err := format.ParseBody(raw.Body)
	if err != nil {
		return Entry{}, err
	}
	p, err := t.env.sealer.Open(read, format.Position{Thread: t.id, Log: id.Log, Seq: id.Seq}, b)
	if err != nil {
		return Entry{}, fmt.Errorf("record %s: %w", id, err)
	}
	return Entry{ID: id, Time: h.Time, Atomic: p.Atomic, Payload: p.Payload}, nil
}
