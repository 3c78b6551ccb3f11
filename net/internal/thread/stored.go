package thread

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// readRecord returns the record that was stored as id; it aliases the store's view.
func (t *Thread) readRecord(r store.Reader, log uint32, id clock.RecordID) (format.Stored, error) {
	v, err := r.Get(t.recordKey(log, id.Seq, id.Hash))
	if errors.Is(err, store.ErrNotFound) {
		return format.Stored{}, fault.Of(ErrNotFound, "no record %s", id)
	}
	if err != nil {
		return format.Stored{}, fmt.Errorf("record %s: %w", id, err)
	}
	s, err := format.DecodeStored(v)
	if err == nil && format.RecordHash(t.id, s.Header) != id.Hash {
		err = fault.Of(ErrNotFound, "no record %s", id)
	}
	return s, err
}

// walk calls f for the records after `after` up to tip, in order, on the branch
// that ends in tip, until f returns false. A log that is not forked is one range
// of keys; headers are left to who needs them.
func (t *Thread) walk(r store.Reader, log *threadLog, forked bool, tip clock.RecordID, after uint64, f func(clock.RecordID, format.Stored) (bool, error)) error {
	if forked {
		return t.walkPath(r, log.num, tip, after, f)
	}
	it := r.Iterate(store.Range{Lower: t.seqKey(log.num, after+1), Upper: t.seqKey(log.num, tip.Seq+1)})
	defer it.Close()
	next := after + 1
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return fmt.Errorf("log %s: %w", log.id.Short(), err)
		}
		s, err := format.DecodeStored(v)
		if err != nil {
			return err
		}
		id := clock.RecordID{Log: log.id, Seq: next, Hash: format.RecordHash(t.id, s.Header)}
		if !bytes.Equal(it.Key(), t.recordKey(log.num, id.Seq, id.Hash)) {
			return fault.Of(ErrNotFound, "no record %d of log %s", next, log.id.Short())
		}
		next++
		if more, err := f(id, s); err != nil || !more {
			return err
		}
	}
	return it.Err()
}

// walkPath is walk for a forked log: it follows the previous hashes back first.
func (t *Thread) walkPath(r store.Reader, log uint32, tip clock.RecordID, after uint64, f func(clock.RecordID, format.Stored) (bool, error)) error {
	var path []clock.RecordID
	for id := tip; id.Seq > after; {
		s, err := t.readRecord(r, log, id)
		if err != nil {
			return err
		}
		h, err := format.DecodeHeader(s.Header)
		if err != nil {
			return fmt.Errorf("stored record: %w", err)
		}
		path = append(path, id)
		id = clock.RecordID{Log: id.Log, Seq: id.Seq - 1, Hash: h.Prev}
	}
	for i := len(path) - 1; i >= 0; i-- {
		s, err := t.readRecord(r, log, path[i])
		if err != nil {
			return err
		}
		if more, err := f(path[i], s); err != nil || !more {
			return err
		}
	}
	return nil
}

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
		if b.tip == id {
			return true
		}
		top = max(top, b.tip.Seq)
	}
	if id.Seq > top {
		return false
	}
	_, err := t.readRecord(r, l.num, id)
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
	if l == nil || l.desc.Kind != format.KindData {
		return Entry{}, fault.Of(ErrNotFound, "no record %s", id)
	}
	if !k.CanRead() {
		return Entry{}, ErrNoKeys
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	s, err := t.readRecord(snap, l.num, id)
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
