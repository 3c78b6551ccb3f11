package pebblekv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/weftdb/weft/internal/store"
)

// openHere opens the engine in dir, with the store over it.
func openHere(t *testing.T, dir string, o Options) (*engine, store.Store) {
	t.Helper()
	e, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.New(e, store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return e.(*engine), s
}

// writeMegabytes writes so many, under random keys.
func writeMegabytes(t *testing.T, s store.Store, n int) {
	t.Helper()
	for range n {
		tx := s.Begin()
		for range 1000 {
			v := make([]byte, 1000)
			for i := 0; i < len(v); i += 8 {
				binary.LittleEndian.PutUint64(v[i:], rand.Uint64())
			}
			if err := tx.Put(fmt.Appendf(nil, "k%016x", rand.Uint64()), v); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// A damaged table cannot be merged. That is tried again now and then, not all the time.
func TestMergesOfDamageArePaced(t *testing.T) {
	dir := t.TempDir()
	_, s := openHere(t, dir, Options{Create: true})
	writeMegabytes(t, s, 6)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	for _, name := range tables {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[100] ^= 4
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var failed atomic.Int64
	first := make(chan struct{})
	_, s = openHere(t, dir, Options{Logf: func(format string, _ ...any) {
		if strings.Contains(format, "merged") && failed.Add(1) == 1 {
			close(first)
		}
	}})
	writeMegabytes(t, s, 30)
	<-first
	writeMegabytes(t, s, 30)
	if n := failed.Load(); n > 10 {
		t.Errorf("got %d tries while 30 MB were written, want a few", n)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// What can be merged is, also what was refused while another merge ran.
func TestMergesGoOn(t *testing.T) {
	e, s := openHere(t, t.TempDir(), Options{Create: true})
	writeMegabytes(t, s, 60)
	end := time.Now().Add(time.Minute)
	if n, want := e.pacer.level0.Load(), e.db.Metrics().Levels[0].TablesCount; n > want+20 || n < want-20 {
		t.Errorf("%d tables are counted in level 0, there are %d", n, want)
	}
	// Of what one flush wrote, in several tables, nothing has to be merged.
	for e.db.Metrics().Levels[0].Sublevels >= 2 {
		if time.Now().After(end) {
			t.Fatalf("%d tables wait in level 0, above one another", e.db.Metrics().Levels[0].TablesCount)
		}
		time.Sleep(time.Millisecond) // it has no event to wait for
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Each further failure waits twice as long, up to the last pause; a success forgets
// them, and an end stops the wait.
func TestPauses(t *testing.T) {
	p := &pacer{}
	p.Register(1, noMerges{})
	var got []time.Duration
	for range 8 {
		p.failed(errors.New("no room"))
		got = append(got, p.pause)
		if ok, _ := p.TrySchedule(); ok {
			t.Fatal("a merge may begin in a pause")
		}
	}
	want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60}
	for i, d := range want {
		if got[i] != d*time.Second {
			t.Fatalf("got %v, want %v seconds", got, want)
		}
	}
	p.merged(pebble.CompactionInfo{})
	p.resume()
	if ok, _ := p.TrySchedule(); !ok || p.pause != 0 {
		t.Errorf("no merge may begin after a success: the pause is %v", p.pause)
	}
	if ok, _ := p.TrySchedule(); ok {
		t.Error("two merges at once")
	}
	p.Done()
	p.failed(errors.New("no room"))
	p.Unregister()
	if ok, _ := p.TrySchedule(); ok || p.wait != nil {
		t.Error("a merge may begin after the end")
	}
}

// Writes are refused when many tables wait in level 0 and damage was met.
func TestRefusalOfUnmerged(t *testing.T) {
	p := &pacer{}
	p.level0.Add(mostUnmerged)
	if err := p.refusal("here"); err != nil {
		t.Errorf("got %v without damage", err)
	}
	p.failed(pebble.ErrCorruption)
	defer p.Unregister()
	if err := p.refusal("here"); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("got %v, want corrupt", err)
	}
	p.merged(pebble.CompactionInfo{Input: []pebble.LevelInfo{{Level: 0, Tables: make([]pebble.TableInfo, 2)}, {Level: 6}}})
	if err := p.refusal("here"); err != nil {
		t.Errorf("got %v with room in level 0", err)
	}
}

// noMerges is an engine that never waits for one.
type noMerges struct{}

func (noMerges) GetAllowedWithoutPermission() int { return 1 }

func (noMerges) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	return false, pebble.WaitingCompaction{}
}

func (noMerges) Schedule(pebble.CompactionGrantHandle) bool { return false }
