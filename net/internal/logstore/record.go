package logstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// PutRecord keeps a record, of which value is the encoding of a [format.Stored].
func (t Table) PutRecord(tx store.Tx, log uint32, id clock.RecordID, value []byte) error {
	return tx.Put(t.recordKey(log, id.Seq, id.Hash), value)
}

// Record returns the record that was stored as id, [format.ErrNotFound] if there is
// none; it aliases the store's view.
func (t Table) Record(r store.Reader, log uint32, id clock.RecordID) (format.Stored, error) {
	v, err := r.Get(t.recordKey(log, id.Seq, id.Hash))
	if errors.Is(err, store.ErrNotFound) {
		return format.Stored{}, fault.Of(format.ErrNotFound, "no record %s", id)
	}
	if err != nil {
		return format.Stored{}, fmt.Errorf("record %s: %w", id, err)
	}
	s, err := format.DecodeStored(v)
	if err == nil && format.RecordHash(t.thread, s.Header) != id.Hash {
		err = fault.Of(format.ErrNotFound, "no record %s", id)
	}
	return s, err
}

// Walk calls f for the records after `after` up to tip, in order, on the branch
// that ends in tip, until f returns false. A log that is not forked is one range
// of keys; headers are left to who needs them.
func (t Table) Walk(r store.Reader, log *Log, forked bool, tip clock.RecordID, after uint64, f func(clock.RecordID, format.Stored) (bool, error)) error {
	if forked {
		return t.WalkPath(r, log.Num, tip, after, f)
	}
	it := r.Iterate(store.Range{Lower: t.seqKey(log.Num, after+1), Upper: t.seqKey(log.Num, tip.Seq+1)})
	defer it.Close()
	next := after + 1
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return fmt.Errorf("log %s: %w", log.ID.Short(), err)
		}
		s, err := format.DecodeStored(v)
		if err != nil {
			return err
		}
		id := clock.RecordID{Log: log.ID, Seq: next, Hash: format.RecordHash(t.thread, s.Header)}
		if !bytes.Equal(it.Key(), t.recordKey(log.Num, id.Seq, id.Hash)) {
			return fault.Of(format.ErrNotFound, "no record %d of log %s", next, log.ID.Short())
		}
		next++
		if more, err := f(id, s); err != nil || !more {
			return err
		}
	}
	return it.Err()
}

// WalkPath is Walk for a forked log: it follows the previous hashes back first.
func (t Table) WalkPath(r store.Reader, log uint32, tip clock.RecordID, after uint64, f func(clock.RecordID, format.Stored) (bool, error)) error {
	var path []clock.RecordID
	for id := tip; id.Seq > after; {
		s, err := t.Record(r, log, id)
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
		s, err := t.Record(r, log, path[i])
		if err != nil {
			return err
		}
		if more, err := f(path[i], s); err != nil || !more {
			return err
		}
	}
	return nil
}

// SignedBefore returns the last signed position of a branch up to id.
func (t Table) SignedBefore(r store.Reader, log uint32, b *Branch, id clock.RecordID) (clock.RecordID, error) {
	if b.Signed.Seq <= id.Seq {
		return b.Signed, nil
	}
	for id.Seq > b.Base.Seq {
		s, err := t.Record(r, log, id)
		if err != nil {
			return clock.RecordID{}, err
		}
		if s.Signed {
			return id, nil
		}
		h, err := format.DecodeHeader(s.Header)
		if err != nil {
			return clock.RecordID{}, err
		}
		id = clock.RecordID{Log: id.Log, Seq: id.Seq - 1, Hash: h.Prev}
	}
	return clock.RecordID{}, nil
}

// SignedFrom returns the first signed position from id on, on the way to a signed tip of its
// log; ok is false if id is not on it.
func (t Table) SignedFrom(r store.Reader, log *Log, forked bool, tip, id clock.RecordID) (at clock.RecordID, ok bool, err error) {
	err = t.Walk(r, log, forked, tip, id.Seq-1, func(x clock.RecordID, s format.Stored) (bool, error) {
		if x.Seq == id.Seq && x != id {
			return false, nil
		}
		at, ok = x, s.Signed
		return !s.Signed, nil
	})
	return at, ok, err
}

// EachRecord calls f with the key and the value of every record of a log, whole or not,
// by position, until it returns an error. Both are valid until f returns.
func (t Table) EachRecord(r store.Reader, log uint32, f func(key, value []byte) error) error {
	it := r.Iterate(store.Prefix(binary.BigEndian.AppendUint32(t.key(keyRecord), log)))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return err
		}
		if err := f(it.Key(), v); err != nil {
			return err
		}
	}
	return it.Err()
}

// EachID calls f for the records of a log from a position on, by their keys, with the hash of
// the record before, until it returns an error.
func (t Table) EachID(r store.Reader, log *Log, from uint64, f func(id clock.RecordID, prev clock.Hash) error) error {
	it := r.Iterate(store.Range{Lower: t.seqKey(log.Num, from), Upper: store.PrefixEnd(binary.BigEndian.AppendUint32(t.key(keyRecord), log.Num))})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return err
		}
		s, err := format.DecodeStored(v)
		if err != nil {
			return err
		}
		h, err := format.DecodeHeader(s.Header)
		if err != nil {
			return fmt.Errorf("stored record: %w", err)
		}
		if err := f(clock.RecordID{Log: log.ID, Seq: h.Seq, Hash: format.RecordHash(t.thread, s.Header)}, h.Prev); err != nil {
			return err
		}
	}
	return it.Err()
}

// OneAt reports whether exactly one record of a log has a position.
func (t Table) OneAt(r store.Reader, log uint32, seq uint64) bool {
	it := r.Iterate(store.Range{Lower: t.seqKey(log, seq), Upper: t.seqKey(log, seq+1), KeysOnly: true})
	defer it.Close()
	n := 0
	for ; it.Valid() && n < 2; it.Next() {
		n++
	}
	return n == 1 && it.Err() == nil
}

// pruneSome is how many rows one transaction deletes, unless it is full before.
const pruneSome = 4096

// PruneRecords deletes some of the records of a log up to seq that are gone, with their
// refusals: as many as one transaction takes. It returns how many.
func (t Table) PruneRecords(r store.Reader, tx store.Tx, log uint32, seq uint64, gone func(seq uint64, hash clock.Hash) bool) (n int64, err error) {
	it := r.Iterate(store.Range{Lower: t.seqKey(log, 0), Upper: t.seqKey(log, seq+1)})
	defer it.Close()
	for ; it.Valid() && n < pruneSome; it.Next() {
		v, err := it.Value()
		if err != nil {
			return 0, err
		}
		s, err := format.DecodeStored(v)
		if err != nil {
			return 0, err
		}
		if !gone(SeqOf(it.Key()), format.RecordHash(t.thread, s.Header)) {
			continue
		}
		k := slices.Clone(it.Key())
		if err := tx.Delete(k); errors.Is(err, store.ErrTooBig) {
			break
		} else if err != nil {
			return 0, err
		}
		if err := tx.Delete(t.refusedKey(k)); err != nil && !errors.Is(err, store.ErrTooBig) {
			return 0, err
		}
		n++
	}
	return n, it.Err()
}

// Header returns the header of a record that is stored, which is the zero one beside an error.
func (t Table) Header(r store.Reader, log uint32, id clock.RecordID) (*format.Header, error) {
	s, err := t.Record(r, log, id)
	if err != nil {
		return &format.Header{}, err
	}
	h, err := format.DecodeHeader(s.Header)
	if err != nil {
		return &format.Header{}, fmt.Errorf("stored record: %w", err)
	}
	return h, nil
}

// Path returns the hashes of a record and of those before it on its branch, as far as they are
// stored.
func (t Table) Path(r store.Reader, log uint32, head clock.RecordID) (map[clock.Hash]bool, error) {
	path := map[clock.Hash]bool{}
	for at := head; at.Seq > 0; {
		h, err := t.Header(r, log, at)
		if errors.Is(err, format.ErrNotFound) {
			return path, nil
		}
		if err != nil {
			return nil, err
		}
		path[at.Hash] = true
		at = clock.RecordID{Log: at.Log, Seq: at.Seq - 1, Hash: h.Prev}
	}
	return path, nil
}

// TimeAfter returns when the first record after `after` was written, on the branch that ends
// in tip.
func (t Table) TimeAfter(r store.Reader, log *Log, forked bool, tip clock.RecordID, after uint64) (at clock.Time, err error) {
	err = t.Walk(r, log, forked, tip, after, func(_ clock.RecordID, s format.Stored) (bool, error) {
		h, err := format.DecodeHeader(s.Header)
		if err == nil {
			at = h.Time
		}
		return false, err
	})
	return at, err
}
