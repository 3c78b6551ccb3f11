package logstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// An arrival is a record in the order in which this node stored those of a thread, from
// 1. Their references lie in chunks, under the number of the first.
const (
	ArrivalSize  = 4 + 8 + 32 // bytes of a reference
	ArrivalChunk = 512        // references in one row, at most
)

// An ArrivalRef says which record has an arrival number.
type ArrivalRef struct {
	N   int64
	ID  clock.RecordID // as it is read, of no log: Log says which
	Log uint32
}

// append appends log number, position and hash: 44 bytes, so that a chunk of 512
// is found by one seek and read as one value.
func (a *ArrivalRef) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, a.Log)
	b = binary.BigEndian.AppendUint64(b, a.ID.Seq)
	return append(b, a.ID.Hash[:]...)
}

// parseRef is the inverse of append.
func parseRef(n int64, b []byte) ArrivalRef {
	a := ArrivalRef{N: n, Log: binary.BigEndian.Uint32(b)}
	a.ID.Seq, a.ID.Hash = binary.BigEndian.Uint64(b[4:]), clock.Hash(b[12:ArrivalSize])
	return a
}

// firstOf returns the number of the first arrival of the chunk under a key.
func firstOf(key []byte) int64 { return int64(binary.BigEndian.Uint64(key[len(key)-8:])) }

// PutArrivals writes references to consecutive arrivals.
func (t Table) PutArrivals(tx store.Tx, refs []ArrivalRef) error {
	for len(refs) > 0 {
		n := min(len(refs), ArrivalChunk)
		v := make([]byte, 0, n*ArrivalSize)
		for i := range refs[:n] {
			v = refs[i].append(v)
		}
		if err := tx.Put(t.arrivalKey(refs[0].N), v); err != nil {
			return fmt.Errorf("arrivals: %w", err)
		}
		refs = refs[n:]
	}
	return nil
}

// EachArrival calls f for the arrivals after n in order, until it returns false.
func (t Table) EachArrival(r store.Reader, n int64, f func(ArrivalRef) (bool, error)) error {
	from, err := t.chunkOf(r, n+1)
	if err != nil {
		return err
	}
	it := r.Iterate(store.Range{Lower: t.arrivalKey(from), Upper: store.PrefixEnd(t.key(keyArrival))})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		first := firstOf(it.Key())
		v, err := it.Value()
		if err != nil {
			return fmt.Errorf("arrivals: %w", err)
		}
		for i := 0; i+ArrivalSize <= len(v); i += ArrivalSize {
			a := parseRef(first+int64(i/ArrivalSize), v[i:])
			if a.N <= n {
				continue
			}
			if more, err := f(a); err != nil || !more {
				return err
			}
		}
	}
	return it.Err()
}

// chunkOf returns the first number of the chunk that holds arrival n, or n.
func (t Table) chunkOf(r store.Reader, n int64) (int64, error) {
	it := r.Iterate(store.Range{Lower: t.arrivalKey(0), Upper: t.arrivalKey(n + 1), Reverse: true, KeysOnly: true})
	defer it.Close()
	if !it.Valid() {
		return n, it.Err()
	}
	return firstOf(it.Key()), nil
}

// An ArrivalReader finds arrivals by their numbers in one view; it keeps the chunk that
// it read last.
type ArrivalReader struct {
	rows  Table
	r     store.Reader
	chunk []byte // of arrivals, from first on
	first int64
}

// Arrivals returns what finds arrivals by their numbers.
func (t Table) Arrivals(r store.Reader) *ArrivalReader { return &ArrivalReader{rows: t, r: r} }

// At returns the arrival that has number n; ok is false if it was pruned.
func (a *ArrivalReader) At(n int64) (ref ArrivalRef, ok bool, err error) {
	if a.chunk == nil || n < a.first || n >= a.first+int64(len(a.chunk)/ArrivalSize) {
		if a.first, err = a.rows.chunkOf(a.r, n); err != nil {
			return ref, false, err
		}
		if a.chunk, err = a.r.Get(a.rows.arrivalKey(a.first)); errors.Is(err, store.ErrNotFound) {
			a.chunk = nil
			return ref, false, nil
		} else if err != nil {
			return ref, false, fmt.Errorf("arrivals: %w", err)
		}
	}
	i := int(n-a.first) * ArrivalSize
	if i < 0 || i+ArrivalSize > len(a.chunk) {
		return ref, false, nil
	}
	return parseRef(n, a.chunk[i:]), true, nil
}

// LastArrival returns the number of the last arrival, 0 if there is none.
func (t Table) LastArrival(r store.Reader) (int64, error) {
	rng := store.Prefix(t.key(keyArrival))
	rng.Reverse = true
	it := r.Iterate(rng)
	defer it.Close()
	if !it.Valid() {
		return 0, it.Err()
	}
	v, err := it.Value()
	if err != nil {
		return 0, fmt.Errorf("arrivals: %w", err)
	}
	return firstOf(it.Key()) + int64(len(v)/ArrivalSize) - 1, nil
}

// PruneArrivals deletes chunks from the number `from` up to last, all of whose records
// are gone: as many as one transaction takes. It returns where to go on, -1 at the end.
func (t Table) PruneArrivals(r store.Reader, tx store.Tx, from, last int64, gone func(ArrivalRef) bool) (next int64, err error) {
	it := r.Iterate(store.Range{Lower: t.arrivalKey(from), Upper: store.PrefixEnd(t.key(keyArrival))})
	defer it.Close()
	for n := 0; it.Valid(); it.Next() {
		k := it.Key()
		first := firstOf(k)
		v, err := it.Value()
		if err != nil {
			return -1, err
		}
		if first+int64(len(v)/ArrivalSize)-1 > last {
			break
		}
		if n == pruneSome {
			return first, nil
		}
		all := true
		for i := 0; all && i+ArrivalSize <= len(v); i += ArrivalSize {
			all = gone(parseRef(0, v[i:]))
		}
		if !all {
			continue
		}
		if err := tx.Delete(slices.Clone(k)); errors.Is(err, store.ErrTooBig) {
			return first, nil
		} else if err != nil {
			return -1, err
		}
		n++
	}
	return -1, it.Err()
}
