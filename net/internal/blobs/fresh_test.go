package blobs

import (
	"bytes"
	"testing"
	"time"

	"github.com/weftdb/weft/net/internal/format"
)

// sealed returns a blob as a peer gives it, and its name.
func sealed(t *testing.T, th *testThread, plain []byte) ([]byte, format.BlobID) {
	t.Helper()
	k, err := th.Keys()
	if err != nil {
		t.Fatal(err)
	}
	b, err := format.SealBlob(&k, th.ID, plain)
	if err != nil {
		t.Fatal(err)
	}
	return b, format.BlobIDOf(b)
}

// loadAt opens the thread's blobs as a start at another time does.
func loadAt(t *testing.T, th *testThread, now time.Time) *Store {
	t.Helper()
	s := th.open(t)
	snap := th.Store.Snapshot()
	defer snap.Release()
	if err := s.loadFresh(snap, now); err != nil {
		t.Fatal(err)
	}
	return s
}

// What came from a peer and no record names yet stays, also when the node ended in
// between; what was put here and nobody names goes. After its time the first goes too.
func TestFreshBlobsSurviveARestart(t *testing.T) {
	th := newTestThread(t)
	s := th.open(t)
	b, came := sealed(t, th, block(1, 1<<10))
	if err := s.Take(t.Context(), [][]byte{b}); err != nil {
		t.Fatal(err)
	}
	own := put(t, s, block(2, 1<<10))[0]
	s = th.open(t)
	if n, _, err := s.Collect(t.Context(), recorded{}); err != nil || n != 1 {
		t.Fatalf("collected %d, %v", n, err)
	}
	if !s.Has(came) || s.Has(own) {
		t.Fatalf("the one that came is held: %t, that of a push that nobody names: %t", s.Has(came), s.Has(own))
	}
	old := freshRun{first: 1, last: 1, at: time.Now().Add(-freshFor - 2*time.Minute)}
	tx := th.Store.Begin()
	if err := tx.Put(th.Fresh, freshRuns{old}.encode()); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	s = th.open(t)
	if n, _, err := s.Collect(t.Context(), recorded{}); err != nil || n != 1 || s.Has(came) {
		t.Fatalf("collected %d, %v, of what came long ago", n, err)
	}
}

// A clock that was ahead keeps nothing for longer than one that is right.
func TestFreshOfAClockAheadEnds(t *testing.T) {
	th := newTestThread(t)
	s := th.open(t)
	b, _ := sealed(t, th, block(1, 1<<10))
	if err := s.Take(t.Context(), [][]byte{b}); err != nil {
		t.Fatal(err)
	}
	back := time.Now().Add(-24 * time.Hour)
	s = loadAt(t, th, back)
	if !s.fresh.has(1, back) || s.fresh.has(1, back.Add(freshFor+2*time.Minute)) {
		t.Fatalf("got %v", s.fresh)
	}
}

// A peer that gives what is held, in any order, makes neither memory nor the row grow
// without bounds, and nothing that came lately is forgotten.
func TestFreshRunsAreBounded(t *testing.T) {
	var f freshRuns
	now := time.Now()
	for n := int64(10_000); n > 0; n -= 2 {
		f.add(n, now)
	}
	if len(f) > maxFreshRuns || len(f.encode()) > maxFreshRuns*freshSize {
		t.Fatalf("%d runs", len(f))
	}
	for n := int64(10_000); n > 0; n -= 2 {
		if !f.has(n, now) {
			t.Fatalf("number %d is forgotten", n)
		}
	}
}

// A note that is cut short is damage, which is told.
func TestFreshNoteThatIsCut(t *testing.T) {
	th := newTestThread(t)
	tx := th.Store.Begin()
	if err := tx.Put(th.Fresh, bytes.Repeat([]byte{1}, freshSize-1)); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	snap := th.Store.Snapshot()
	defer snap.Release()
	if err := New(th.Config).Load(snap); err == nil {
		t.Fatal("a note that is cut short was taken")
	}
}
