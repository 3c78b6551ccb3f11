package logstore

import (
	"errors"
	"testing"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/net/internal/format"
)

func openMemory(t *testing.T) store.Store {
	t.Helper()
	s, err := engines.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// update calls f with a transaction and commits it.
func update(t *testing.T, s store.Store, f func(tx store.Tx) error) {
	t.Helper()
	tx := s.Begin()
	defer tx.Discard()
	if err := errors.Join(f(tx), tx.Commit()); err != nil {
		t.Fatal(err)
	}
}

// A number is given once, also when the rows that list threads, and the next number, are
// lost; what is left of a thread is found by its genesis.
func TestNumbersAreGivenOnce(t *testing.T) {
	s := openMemory(t)
	genesis := []byte("as good as a genesis")
	id, other := format.ThreadIDOf(genesis), bytesFrom[format.ThreadID](9)
	var first, second Table
	update(t, s, func(tx store.Tx) (err error) {
		if first, err = Found(tx, id); err != nil {
			return err
		}
		if _, err := Found(tx, id); err == nil {
			t.Error("a thread was founded twice")
		}
		return errors.Join(first.PutGenesis(tx, genesis), first.PutOwn(tx, 3, 4), Unlist(tx, id), tx.Delete([]byte(keyThreads)))
	})
	update(t, s, Restored)
	update(t, s, func(tx store.Tx) (err error) {
		second, err = Found(tx, other)
		return errors.Join(err, second.PutOwn(tx, 1, 2))
	})
	if first.num == second.num {
		t.Errorf("number %d was given twice", first.num)
	}
	update(t, s, func(tx store.Tx) error {
		if _, err := Find(tx, id); !errors.Is(err, format.ErrNotFound) {
			t.Errorf("got %v of a thread that is not listed", err)
		}
		if at, err := Trace(tx, id); err != nil || at != first {
			t.Errorf("got %v %v, want the rows of %v", at, err, first)
		}
		return Restored(tx)
	})
	snap := s.Snapshot()
	defer snap.Release()
	if control, data, err := second.Own(snap); err != nil || control != 1 || data != NoLog {
		t.Errorf("a restored copy goes on in logs %d and %d (%v), want 1 and none", control, data, err)
	}
}

// Arrivals are found by their numbers, in order from any of them, and are pruned by chunks
// whose records are all cut off.
func TestArrivals(t *testing.T) {
	s := openMemory(t)
	at := Table{num: 7}
	const n = 2*ArrivalChunk + 10
	refs := make([]ArrivalRef, n)
	for i := range refs {
		refs[i] = ArrivalRef{N: int64(i + 1), ID: clock.RecordID{Seq: uint64(i + 1), Hash: clock.Hash{byte(i)}}, Log: 2}
	}
	update(t, s, func(tx store.Tx) error { return at.PutArrivals(tx, refs) })
	check := func(from int64) {
		t.Helper()
		snap := s.Snapshot()
		defer snap.Release()
		if last, err := at.LastArrival(snap); err != nil || last != n {
			t.Errorf("got last arrival %d %v, want %d", last, err, n)
		}
		in := at.Arrivals(snap)
		for _, k := range []int64{1, ArrivalChunk, ArrivalChunk + 1, n} {
			ref, ok, err := in.At(k)
			if err != nil || ok != (k >= from) || ok && ref != refs[k-1] {
				t.Errorf("arrival %d: got %v %v %v", k, ref, ok, err)
			}
		}
		for _, after := range []int64{0, ArrivalChunk - 1, ArrivalChunk, n - 1} {
			next := max(after+1, from)
			err := at.EachArrival(snap, after, func(a ArrivalRef) (bool, error) {
				if a != refs[next-1] {
					t.Errorf("after %d: got %v, want %v", after, a, refs[next-1])
				}
				next++
				return true, nil
			})
			if err != nil || next != n+1 {
				t.Errorf("after %d: ended before %d (%v)", after, next, err)
			}
		}
	}
	check(1)
	update(t, s, func(tx store.Tx) error {
		snap := s.Snapshot()
		defer snap.Release()
		next, err := at.PruneArrivals(snap, tx, 0, n-1, func(a ArrivalRef) bool { return a.Log == 2 && a.ID.Seq <= ArrivalChunk+1 })
		if next != -1 {
			t.Errorf("pruning goes on at %d, want the end", next)
		}
		return err
	})
	check(ArrivalChunk + 1)
}
