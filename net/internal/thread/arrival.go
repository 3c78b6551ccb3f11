package thread

import (
	"errors"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/parallel"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
	"github.com/weftdb/weft/net/internal/logstore"
)

// An Arrival is a data record in the order in which this node stored the
// records of a thread, from 1. Own records arrive too.
type Arrival struct {
	N int64
	Entry
}

// An arrivalRef says which record has an arrival number.
type arrivalRef struct {
	logstore.ArrivalRef
	branch *held.Branch // nil where it does not matter
	signed bool

	snapshot bool // the log is a snapshot log
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
		e, ok := t.cache.Get(at)
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
	err := t.rows.EachArrival(snap, n, func(a logstore.ArrivalRef) (bool, error) {
		if a.N > last {
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
	arrivals := t.rows.Arrivals(snap)
	for _, n := range ns {
		a, ok, err := arrivals.At(n)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if err := in.add(a); err != nil {
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
func (s *sealedArrivals) add(a logstore.ArrivalRef) error {
	t := s.t
	t.mu.Lock()
	l := t.byNum[a.Log]
	a.ID.Log = l.ID
	cut := a.ID.Seq <= l.Floor.Top()
	t.mu.Unlock()
	r, err := t.rows.Record(s.snap, a.Log, a.ID)
	if cut && errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	s.refs = append(s.refs, arrivalRef{ArrivalRef: a, snapshot: l.Desc.Kind == format.KindSnapshot})
	s.raw = append(s.raw, r.Record)
	s.size += len(r.Body)
	return nil
}

// open opens what was read.
func (s *sealedArrivals) open(k *format.Keys) ([]Arrival, error) {
	got, errs := make([]Arrival, len(s.refs)), make([]error, len(s.refs))
	parallel.Do(len(s.refs), func(i int) {
		got[i].N = s.refs[i].N
		got[i].Entry, errs[i] = s.t.opener(k).Entry(s.refs[i].ID, s.raw[i])
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
	return t.rows.EachArrival(snap, n, func(a logstore.ArrivalRef) (bool, error) {
		if int(a.Log) >= len(logs) {
			return false, nil // it came after the call
		}
		l := logs[a.Log]
		a.ID.Log = l.ID
		return f(a.N, a.ID, l.Desc.Kind == format.KindSnapshot), nil
	})
}
