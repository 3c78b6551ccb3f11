package storetest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/weftdb/weft/internal/store"
)

// childDir names, in the environment of a child process, the store that it
// writes to until it is killed.
const childDir = "WEFT_STORETEST_DIR"

// Durable checks what holds for stores on disk: that they come back after a
// close and a kill, and give space back, but for reserve bytes that the engine
// keeps to write over.
func Durable(t *testing.T, open func(t testing.TB, dir string) store.Store, reserve int64) {
	t.Run("Kill", func(t *testing.T) {
		if dir := os.Getenv(childDir); dir != "" {
			writeUntilKilled(t, open(t, dir))
			return
		}
		testKill(t, open)
	})
	t.Run("Reopen", func(t *testing.T) { testReopen(t, open) })
	t.Run("Compact", func(t *testing.T) { testCompact(t, open, reserve) })
}

func testReopen(t *testing.T, open func(t testing.TB, dir string) store.Store) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "a", "1", "empty", "", "large", strings.Repeat("x", 100_000))
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	snap := s.Snapshot()
	for k, n := range map[string]int{"a": 1, "empty": 0, "large": 100_000} {
		if v, err := snap.Get([]byte(k)); err != nil || len(v) != n {
			t.Errorf("%s: got %d bytes, %v, want %d", k, len(v), err, n)
		}
	}
	snap.Release()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// testCompact overwrites keys many times; compaction must bring the store back
// to the size of what it holds, and keep a snapshot and what is written
// meanwhile.
func testCompact(t *testing.T, open func(t testing.TB, dir string) store.Store, reserve int64) {
	const keys, rounds, size = 10_000, 20, 300
	s := open(t, t.TempDir())
	value := make([]byte, size)
	chacha := rand.NewChaCha8([32]byte{1})
	for round := range rounds {
		for i := 0; i < keys; i += 2000 {
			tx := s.Begin()
			for j := i; j < i+2000; j++ {
				_, _ = chacha.Read(value) // it cannot fail
				v := append([]byte{byte(round)}, value...)
				if err := tx.Put(fmt.Appendf(nil, "key%06d", j), v); err != nil {
					t.Fatal(err)
				}
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
		}
	}
	before, err := s.Size()
	if err != nil {
		t.Fatal(err)
	}
	snap := s.Snapshot()
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 200 {
			put(t, s, "meanwhile", fmt.Sprint(i))
		}
	})
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	after, err := s.Size()
	if err != nil {
		t.Fatal(err)
	}
	const live = keys * (size + 10)
	t.Logf("live %d, before %d, after %d bytes", live, before, after)
	if after > 3*live+reserve {
		t.Errorf("got %d bytes after compaction, want at most %d", after, 3*live+reserve)
	}
	for _, i := range []int{0, keys / 2, keys - 1} {
		v, err := snap.Get(fmt.Appendf(nil, "key%06d", i))
		if err != nil || len(v) != size+1 || v[0] != rounds-1 {
			t.Errorf("key %d: got %d bytes, %v", i, len(v), err)
		}
	}
	snap.Release()
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

const (
	kills      = 20 // rounds of testKill
	killWriter = 3  // concurrent writers in the child
	killPuts   = 40 // puts of a transaction
)

// A transaction (w, n) of the child puts killPuts keys of writer w, each with
// the value n and padding whose length depends on n: whole or absent.
func killKey(w, i int) []byte { return fmt.Appendf(nil, "w%d/%03d", w, i) }

func killValue(n, i int) []byte {
	pad := 200
	if (n+i)%67 == 0 {
		pad = 20_000 // one that badger keeps in its value log only
	}
	return fmt.Appendf(nil, "%d %s", n, strings.Repeat("x", pad))
}

// writeUntilKilled commits, syncs and prints "w n" for each transaction.
func writeUntilKilled(t *testing.T, s store.Store) {
	var mu sync.Mutex // guards stdout
	var wg sync.WaitGroup
	for w := range killWriter {
		start, err := lastWhole(s, w)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for n := start + 1; ; n++ {
				if err := killCommit(s, w, n); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				_, err := fmt.Fprintf(os.Stdout, "ack %d %d\n", w, n)
				mu.Unlock()
				if err != nil {
					return // the parent is gone
				}
			}
		})
	}
	wg.Wait()
}

func killCommit(s store.Store, w, n int) error {
	tx := s.Begin()
	defer tx.Discard()
	for i := range killPuts {
		if err := tx.Put(killKey(w, i), killValue(n, i)); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return s.Sync()
}

// lastWhole returns the number of w's last transaction, or an error if the
// store shows a part of one.
func lastWhole(s store.Store, w int) (int, error) {
	snap := s.Snapshot()
	defer snap.Release()
	last := 0
	for i := range killPuts {
		v, err := snap.Get(killKey(w, i))
		n := 0
		if err == nil {
			_, err = fmt.Sscan(string(v), &n)
			if err == nil && string(v) != string(killValue(n, i)) {
				return 0, fmt.Errorf("writer %d, key %d: value of transaction %d is damaged", w, i, n)
			}
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return 0, err
		}
		if i > 0 && n != last {
			return 0, fmt.Errorf("writer %d: half a transaction: key 0 has %d, key %d has %d", w, last, i, n)
		}
		last = n
	}
	return last, nil
}

// testKill kills a writing child at random points. After each kill every
// acknowledged transaction is there, and none is there in part.
func testKill(t *testing.T, open func(t testing.TB, dir string) store.Store) {
	dir := t.TempDir()
	acked := make([]int, killWriter)
	for round := range kills {
		killChild(t, dir, 1+rand.IntN(120), acked)
		s := open(t, dir)
		for w := range killWriter {
			last, err := lastWhole(s, w)
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			if last < acked[w] {
				t.Fatalf("round %d: writer %d: got transaction %d, want at least %d, which was acknowledged",
					round, w, last, acked[w])
			}
		}
		if round%5 == 4 {
			if err := s.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("acknowledged %v transactions", acked)
}

// killChild runs this test's binary as the writer, kills it after count
// acknowledgements, and notes all that it gave.
func killChild(t *testing.T, dir string, count int, acked []int) {
	run := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	cmd := exec.Command(os.Args[0], "-test.run="+run, "-test.v=false")
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	got := 0
	for lines.Scan() {
		var w, n int
		if _, err := fmt.Sscanf(lines.Text(), "ack %d %d", &w, &n); err != nil {
			continue // a line cut by the kill, or the child's own failure
		}
		acked[w] = n
		if got++; got == count {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // it was killed
	if got < count {
		t.Fatalf("the child ended after %d of %d acknowledgements: %s", got, count, stderr.String())
	}
}
