package thread

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/parallel"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// An Arrival is a data record in the order in which this node stored the
// records of a thread, from 1. Own records arrive too.
type Arrival struct {
	N int64
	Entry
}

// An arrivalRef says which record has an arrival number.
type arrivalRef struct {
	n      int64
	id     clock.RecordID
	branch *branch // nil where it does not matter
	log    uint32
	signed bool

	snapshot bool // the log is a snapshot log
}

// appendRef appends log number, position and hash: 44 bytes, so that a chunk of 512
// is found by one seek and read as one value.
func appendRef(b []byte, a *arrivalRef) []byte {
	b = binary.BigEndian.AppendUint32(b, a.log)
	b = binary.BigEndian.AppendUint64(b, a.id.Seq)
	return append(b, a.id.Hash[:]...)
}

// parseRef is the inverse of appendRef.
func parseRef(n int64, b []byte) arrivalRef {
	a := arrivalRef{n: n, log: binary.BigEndian.Uint32(b)}
	a.id.Seq, a.id.Hash = binary.BigEndian.Uint64(b[4:]), clock.Hash(b[12:arrivalSize])
	return a
}

// putArrivals writes references to consecutive arrivals.
func (t *Thread) putArrivals(tx store.Tx, refs []arrivalRef) error {
	for len(refs) > 0 {
		n := min(len(refs), arrivalChunk)
		v := make([]byte, 0, n*arrivalSize)
		for i := range refs[:n] {
			v = appendRef(v, &refs[i])
		}
		if err := tx.Put(t.arrivalKey(refs[0].n), v); err != nil {
			return fmt.Errorf("arrivals: %w", err)
		}
		refs = refs[n:]
	}
	return nil
}

// eachArrival calls f for the arrivals after n in order, until it returns false.
func (t *Thread) eachArrival(r store.Reader, n int64, f func(arrivalRef) (bool, error)) error {
	from, err := t.chunkOf(r, n+1)
	if err != nil {
		return err
	}
	it := r.Iterate(store.Range{Lower: t.arrivalKey(from), Upper: store.PrefixEnd(t.key(keyArrival))})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		k := it.Key()
		first := int64(binary.BigEndian.Uint64(k[len(k)-8:]))
		v, err := it.Value()
		if err != nil {
			return fmt.Errorf("arrivals: %w", err)
		}
		for i := 0; i+arrivalSize <= len(v); i += arrivalSize {
			a := parseRef(first+int64(i/arrivalSize), v[i:])
			if a.n <= n {
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
func (t *Thread) chunkOf(r store.Reader, n int64) (int64, error) {
	it := r.Iterate(store.Range{Lower: t.arrivalKey(0), Upper: t.arrivalKey(n + 1), Reverse: true, KeysOnly: true})
	defer it.Close()
	if !it.Valid() {
		return n, it.Err()
	}
	k := it.Key()
	return int64(binary.BigEndian.Uint64(k[len(k)-8:])), nil
}

// lastArrivalIn returns the number of the last arrival, 0 if there is none.
func (t *Thread) lastArrivalIn(r store.Reader) (int64, error) {
	rng := store.Prefix(t.key(keyArrival))
	rng.Reverse = true
	it := r.Iterate(rng)
	defer it.Close()
	if !it.Valid() {
		return 0, it.Err()
	}
	k := it.Key()
	v, err := it.Value()
	if err != nil {
		return 0, fmt.Errorf("arrivals: %w", err)
	}
	return int64(binary.BigEndian.Uint64(k[len(k)-8:])) + int64(len(v)/arrivalSize) - 1, nil
}

// Arrivals returns the data records that arrived after n, in order, of at least
// one and at most about maxBytes of payload; none if there are none. It includes
// own records.
func (t *Thread) Arrivals(n int64, maxBytes int) ([]Arrival, error) {
	t.mu.Lock()
	k, last := t.keys, t.arrivals
	var got []Arrival
	size := 0
	for at := n + 1; at <= last && (size == 0 || size < maxBytes); at++ {
		e, ok := t.cache.entries[at]
		if !ok {
			break
		}
		got = append(got, Arrival{N: at, Entry: e})
		size += len(e.Payload) + recordBytes
	}
	t.mu.Unlock()
	if len(got) > 0 || n >= last {
		return got, nil
	}
	if !k.CanRead() {
		return nil, ErrNoKeys
	}
	return t.readArrivals(&k, n, last, maxBytes)
}

// recordBytes is the work that a record is besides its payload, in bytes of payload.
const recordBytes = 1 << 10

// readArrivals reads and opens records of the store.
func (t *Thread) readArrivals(k *format.Keys, n, last int64, maxBytes int) ([]Arrival, error) {
	snap := t.env.store.Snapshot()
	defer snap.Release()
	in := sealedArrivals{t: t, snap: snap}
	err := t.eachArrival(snap, n, func(a arrivalRef) (bool, error) {
		if a.n > last {
			return false, nil
		}
		err := in.add(a)
		return 2*in.size < maxBytes, err // compressed, about by half
	})
	if err != nil {
		return nil, err
	}
	return in.open(k)
}

// Records returns the data records that arrived as the numbers ns, in that order, of
// at least one and at most about maxBytes of payload. What Prune has deleted is left out.
func (t *Thread) Records(ns []int64, maxBytes int) ([]Arrival, error) {
	t.mu.Lock()
	k := t.keys
	t.mu.Unlock()
	if !k.CanRead() {
		return nil, ErrNoKeys
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	in := sealedArrivals{t: t, snap: snap}
	var chunk []byte // of arrivals, from first on
	var first int64
	for _, n := range ns {
		if chunk == nil || n < first || n >= first+int64(len(chunk)/arrivalSize) {
			var err error
			if first, err = t.chunkOf(snap, n); err != nil {
				return nil, err
			}
			if chunk, err = snap.Get(t.arrivalKey(first)); errors.Is(err, store.ErrNotFound) {
				chunk = nil
				continue
			} else if err != nil {
				return nil, fmt.Errorf("arrivals: %w", err)
			}
		}
		i := int(n-first) * arrivalSize
		if i < 0 || i+arrivalSize > len(chunk) {
			continue
		}
		if err := in.add(parseRef(n, chunk[i:])); err != nil {
			return nil, err
		}
		if 2*in.size >= maxBytes {
			break
		}
	}
	return in.open(&k)
}

// sealedArrivals are arrivals as the store has them.
type sealedArrivals struct {
	t    *Thread
	snap store.Reader
	refs []arrivalRef
	raw  []format.Record
	size int // of the bodies
}

// add reads the record of a, unless it is cut off and pruned.
func (s *sealedArrivals) add(a arrivalRef) error {
	t := s.t
	t.mu.Lock()
	l := t.byNum[a.log]
	a.id.Log = l.id
	cut := a.id.Seq <= t.cuts.floor(l.id).Seq
	t.mu.Unlock()
	r, err := t.readRecord(s.snap, a.log, a.id)
	if cut && errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	a.snapshot = l.desc.Kind == format.KindSnapshot
	s.refs, s.raw = append(s.refs, a), append(s.raw, r.Record)
	s.size += len(r.Body)
	return nil
}

// open opens what was read.
func (s *sealedArrivals) open(k *format.Keys) ([]Arrival, error) {
	got, errs := make([]Arrival, len(s.refs)), make([]error, len(s.refs))
	parallel.Do(len(s.refs), func(i int) {
		got[i].N = s.refs[i].n
		got[i].Entry, errs[i] = s.t.openEntry(k, s.refs[i].id, s.raw[i])
		got[i].Snapshot = s.refs[i].snapshot
	})
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return got, nil
}

// IDs calls f for the data records that arrived after n, in order, until it
// returns false; snapshot says that the record is of a snapshot log. Numbers that
// Prune has deleted are left out.
func (t *Thread) IDs(n int64, f func(n int64, id clock.RecordID, snapshot bool) bool) error {
	snap := t.env.store.Snapshot()
	defer snap.Release()
	t.mu.Lock()
	logs := slices.Clone(t.byNum)
	t.mu.Unlock()
	return t.eachArrival(snap, n, func(a arrivalRef) (bool, error) {
		if int(a.log) >= len(logs) {
			return false, nil // it came after the call
		}
		l := logs[a.log]
		a.id.Log = l.id
		return f(a.n, a.id, l.desc.Kind == format.KindSnapshot), nil
	})
}

// maxCached bounds the payloads of received records that are kept for
// [Thread.Arrivals], so that they are not read and opened a second time.
const maxCached = 16 << 20

// An arrivalCache holds entries by arrival number.
type arrivalCache struct {
	entries map[int64]Entry
	size    int
	low     int64 // nothing is held up to here
}

// add keeps an entry while there is room. What does not fit is read from the store
// later: the cache saves opening a body twice, no more.
func (c *arrivalCache) add(n int64, e Entry) {
	if c.size+len(e.Payload) > maxCached {
		return
	}
	if c.entries == nil {
		c.entries = map[int64]Entry{}
		c.low = n - 1
	}
	c.entries[n] = e
	c.size += len(e.Payload) + 64
}

// drop forgets the entries up to n.
func (c *arrivalCache) drop(n int64) {
	for ; c.low < n && len(c.entries) > 0; c.low++ {
		if e, ok := c.entries[c.low+1]; ok {
			c.size -= len(e.Payload) + 64
			delete(c.entries, c.low+1)
		}
	}
	c.low = max(c.low, n)
}
