// Package storetest is the suite that every engine of package store passes.
package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/ipfs/go-datastore"
	dstest "github.com/ipfs/go-datastore/test"

	"github.com/weftdb/weft/internal/store"
)

// Run checks what holds for every store. open returns a store in dir; the
// suite closes it.
func Run(t *testing.T, open func(t testing.TB, dir string) store.Store) {
	tests := []struct {
		name string
		f    func(*testing.T, store.Store)
	}{
		{"Model", testModel},
		{"Ranges", testRanges},
		{"OwnWrites", testOwnWrites},
		{"Snapshot", testSnapshot},
		{"Limits", testLimits},
		{"Keys", testKeys},
		{"Conflict", testConflict},
		{"Counter", testCounter},
		{"Ended", testEnded},
		{"CloseInUse", testCloseInUse},
		{"Datastore", testDatastore},
		{"DatastoreBatch", testDatastoreBatch},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := open(t, t.TempDir())
			test.f(t, s)
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// put commits the pairs of kv as one transaction.
func put(t testing.TB, s store.Store, kv ...string) {
	t.Helper()
	tx := s.Begin()
	defer tx.Discard()
	for i := 0; i < len(kv); i += 2 {
		if err := tx.Put([]byte(kv[i]), []byte(kv[i+1])); err != nil {
			t.Fatalf("Put: %v", err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}

func want(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("got error %v, want %v", err, target)
	}
}

// testRanges reads a range of many keys in both directions, with two iterators
// of one transaction open at once.
func testRanges(t *testing.T, s store.Store) {
	const n = 3000
	for i := 0; i < n; i += 500 {
		var kv []string
		for j := i; j < i+500; j++ {
			kv = append(kv, fmt.Sprintf("k%05d", j), fmt.Sprint(j))
		}
		put(t, s, kv...)
	}
	tx := s.Begin()
	defer tx.Discard()
	up := tx.Iterate(store.Range{Lower: []byte("k00100"), Upper: []byte("k02900")})
	down := tx.Iterate(store.Range{Lower: []byte("k00100"), Upper: []byte("k02900"), Reverse: true})
	for i := 100; i < 2900; i++ {
		if got, want := string(up.Key()), fmt.Sprintf("k%05d", i); got != want {
			t.Fatalf("up: got %q, want %q", got, want)
		}
		if got, want := string(down.Key()), fmt.Sprintf("k%05d", 2999-i); got != want {
			t.Fatalf("down: got %q, want %q", got, want)
		}
		up.Next()
		down.Next()
	}
	if up.Valid() || down.Valid() {
		t.Errorf("got keys %q, %q after the range", up.Key(), down.Key())
	}
	up.Close()
	up.Close()
	down.Close()
}

func testOwnWrites(t *testing.T, s store.Store) {
	put(t, s, "a", "1", "b", "1", "c", "1")
	tx := s.Begin()
	defer tx.Discard()
	for _, err := range []error{
		tx.Put([]byte("b"), []byte("2")), tx.Delete([]byte("c")), tx.Put([]byte("d"), nil),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	it := tx.Iterate(store.Range{})
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(it.Key())+string(v))
	}
	it.Close()
	if want := []string{"a1", "b2", "d"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	// An engine may have something to say beside each value.
	if u := tx.Used(); u.Puts != 3 || u.Bytes < 4 || u.Bytes > 4+3*16 {
		t.Errorf("got used %+v, want 4 bytes and little more, 3 puts", u)
	}
}

func testSnapshot(t *testing.T, s store.Store) {
	put(t, s, "a", "1")
	snap := s.Snapshot()
	defer snap.Release()
	put(t, s, "a", "2", "b", "2")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				it := snap.Iterate(store.Range{})
				v, err := it.Value()
				if !it.Valid() || string(v) != "1" || err != nil {
					t.Errorf("got %q, %v, want 1", v, err)
				}
				if it.Next(); it.Valid() {
					t.Errorf("got key %q, which is newer than the snapshot", it.Key())
				}
				it.Close()
				if _, err := snap.Get([]byte("b")); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("got %v, want ErrNotFound", err)
				}
			}
		})
	}
	wg.Wait()
}

// testLimits fills transactions to the limit with values of several sizes;
// each must refuse the write that is too much, and commit the rest.
func testLimits(t *testing.T, s store.Store) {
	for _, size := range []int{0, 100, 3000, 60 << 10, 1 << 20} {
		value := bytes.Repeat([]byte{7}, size)
		tx := s.Begin()
		n := 0
		var err error
		for ; err == nil; n++ {
			err = tx.Put(fmt.Appendf(nil, "%d/%07d", size, n), value)
		}
		want(t, err, store.ErrTooBig)
		n--
		l, u := s.Limits(), tx.Used()
		if u.Puts != n || u.Bytes > l.Bytes || u.Puts > l.Puts {
			t.Errorf("got used %+v after %d puts, limits %+v", u, n, l)
		}
		if n < l.Puts && n*(size+16) < l.Bytes-(size+16) {
			t.Errorf("full after %d values of %d bytes, limits %+v", n, size, l)
		}
		if err := tx.Put(fmt.Appendf(nil, "%d/%07d", size, 0), nil); err != nil {
			t.Errorf("replacing by a shorter value: %v", err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatalf("commit of %d values of %d bytes: %v", n, size, err)
		}
		snap := s.Snapshot()
		it, got := snap.Iterate(store.Prefix(fmt.Appendf(nil, "%d/", size))), 0
		for ; it.Valid(); it.Next() {
			got++
		}
		it.Close()
		snap.Release()
		if got != n {
			t.Errorf("got %d values of %d bytes, want %d", got, size, n)
		}
	}
}

func testKeys(t *testing.T, s store.Store) {
	tx := s.Begin()
	defer tx.Discard()
	for _, k := range []string{"", "!badger!head", "!badger-pad", string(make([]byte, store.MaxKey+1))} {
		want(t, tx.Put([]byte(k), nil), store.ErrKey)
		want(t, tx.Delete([]byte(k)), store.ErrKey)
		_, err := tx.Get([]byte(k))
		want(t, err, store.ErrNotFound)
	}
	long := bytes.Repeat([]byte{0xff}, store.MaxKey)
	if err := tx.Put(long, []byte("v")); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	snap := s.Snapshot()
	defer snap.Release()
	if v, err := snap.Get(long); err != nil || string(v) != "v" {
		t.Errorf("got %q, %v, want v", v, err)
	}
}

func testConflict(t *testing.T, s store.Store) {
	put(t, s, "a", "1", "b", "1")
	reads := map[string]func(store.Tx){
		"get":    func(tx store.Tx) { _, _ = tx.Get([]byte("a")) },
		"absent": func(tx store.Tx) { _, _ = tx.Get([]byte("z")) },
		"walk": func(tx store.Tx) {
			for it := tx.Iterate(store.Range{}); ; it.Next() {
				if !it.Valid() {
					it.Close()
					return
				}
			}
		},
		"nothing": func(store.Tx) {},
	}
	for name, read := range reads {
		tx := s.Begin()
		read(tx)
		put(t, s, "a", "2", "z", "2")
		if err := tx.Put([]byte("b"), []byte(name)); err != nil {
			t.Fatal(err)
		}
		err := tx.Commit()
		if name == "nothing" {
			want(t, err, nil)
		} else {
			want(t, err, store.ErrConflict)
		}
		put(t, s, "z", "3")
	}
}

// testCounter adds to one counter from several goroutines, retrying on
// conflicts; no addition is lost.
func testCounter(t *testing.T, s store.Store) {
	const workers, each = 4, 50
	key := []byte("n")
	add := func() error {
		tx := s.Begin()
		defer tx.Discard()
		v, err := tx.Get(key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := tx.Put(key, append(v, 1)); err != nil {
			return err
		}
		return tx.Commit()
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				err := add()
				for errors.Is(err, store.ErrConflict) {
					err = add()
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	snap := s.Snapshot()
	defer snap.Release()
	if v, err := snap.Get(key); len(v) != workers*each || err != nil {
		t.Errorf("got %d, %v, want %d", len(v), err, workers*each)
	}
}

// testEnded checks what ended transactions and a closed store answer.
func testEnded(t *testing.T, s store.Store) {
	put(t, s, "a", "1")
	tx := s.Begin()
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	want(t, tx.Put([]byte("a"), nil), store.ErrClosed)
	want(t, tx.Commit(), store.ErrClosed)
	snap, open := s.Snapshot(), s.Begin()
	it := snap.Iterate(store.Range{})
	if err := open.Put([]byte("b"), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, r := range []store.Reader{snap, open, tx, s.Snapshot(), s.Begin()} {
		_, err := r.Get([]byte("a"))
		want(t, err, store.ErrClosed)
		it := r.Iterate(store.Range{})
		if it.Valid() {
			t.Error("an iterator of an ended view is valid")
		}
		want(t, it.Err(), store.ErrClosed)
		it.Close()
	}
	if it.Next(); it.Valid() {
		t.Error("an iterator outlived its store")
	}
	want(t, it.Err(), store.ErrClosed)
	it.Close()
	snap.Release()
	snap.Release()
	want(t, open.Commit(), store.ErrClosed)
	open.Discard()
	want(t, s.Sync(), store.ErrClosed)
	want(t, s.Compact(t.Context()), store.ErrClosed)
	_, err := s.Size()
	want(t, err, store.ErrClosed)
	want(t, s.Datastore(nil).Put(t.Context(), datastore.NewKey("a"), nil), store.ErrClosed)
}

// testCloseInUse closes the store while goroutines read and write; each must
// end with ErrClosed.
func testCloseInUse(t *testing.T, s store.Store) {
	put(t, s, "a", "1", "b", "2", "c", "3")
	var wg sync.WaitGroup
	started := make(chan struct{}, 8)
	for range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				snap := s.Snapshot()
				it := snap.Iterate(store.Range{})
				for ; it.Valid(); it.Next() {
					_, _ = it.Value()
				}
				it.Close()
				_, err := snap.Get([]byte("b"))
				snap.Release()
				if errors.Is(err, store.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				if i == 10 {
					started <- struct{}{}
				}
			}
		})
		wg.Go(func() {
			for i := 0; ; i++ {
				tx := s.Begin()
				err := tx.Put([]byte("b"), fmt.Append(nil, i))
				if err == nil {
					err = tx.Commit()
				}
				tx.Discard()
				if errors.Is(err, store.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				if i == 10 {
					started <- struct{}{}
				}
			}
		})
	}
	for range 8 {
		<-started
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

func testDatastore(t *testing.T, s store.Store) {
	put(t, s, "other", "1", "p", "1", "q", "1")
	dstest.SubtestAll(t, s.Datastore([]byte("p:")))
	snap := s.Snapshot()
	defer snap.Release()
	for _, k := range []string{"other", "p", "q"} {
		if _, err := snap.Get([]byte(k)); err != nil {
			t.Errorf("key %q outside the prefix: %v", k, err)
		}
	}
}

// testDatastoreBatch commits a batch that is over the limits.
func testDatastoreBatch(t *testing.T, s store.Store) {
	d := s.Datastore([]byte("p:"))
	b, err := d.Batch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := s.Limits().Puts + 10
	for i := range n {
		if err := b.Put(t.Context(), datastore.NewKey(fmt.Sprint(i)), []byte("v")); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Sync(t.Context(), datastore.NewKey("/")); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, n - 1} {
		if ok, err := d.Has(t.Context(), datastore.NewKey(fmt.Sprint(i))); !ok || err != nil {
			t.Errorf("entry %d: got %v, %v", i, ok, err)
		}
	}
}
