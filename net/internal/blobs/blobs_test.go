package blobs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weftdb/weft/internal/bell"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/net/internal/format"
)

// A testThread is what a Store has of its thread, and can be closed.
type testThread struct {
	Config
	grew   bell.Bell
	closed error
}

func newTestThread(t testing.TB) *testThread {
	t.Helper()
	s, err := engines.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	th, k := &testThread{}, format.FirstKeys(format.ThreadID{1}, format.NewSecretKey(), format.NewSecretKey())
	th.Config = Config{
		Store: s, Dir: filepath.Join(t.TempDir(), "blobs"), ID: format.ThreadID{1}, Rows: []byte("b"), Refs: []byte("B"), Lacks: []byte("m"), Fresh: []byte("f"),
		Keys:     func() (format.Keys, error) { return k, nil },
		Writable: func() error { return th.closed }, Grew: &th.grew,
	}
	return th
}

// open returns the thread's blobs as a start finds them.
func (th *testThread) open(t testing.TB) *Store {
	t.Helper()
	s := New(th.Config)
	snap := th.Store.Snapshot()
	defer snap.Release()
	if err := errors.Join(s.Sweep(), s.Load(snap)); err != nil {
		t.Fatal(err)
	}
	return s
}

// put stores blobs.
func put(t testing.TB, s *Store, plains ...[]byte) []format.BlobID {
	t.Helper()
	ids, err := s.Put(t.Context(), plains)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func block(fill byte, size int) []byte { return bytes.Repeat([]byte{fill}, size) }

// recorded are names in records, each of a list.
type recorded []format.BlobID

func (n recorded) Records(_ context.Context, _ store.Reader, named func(format.BlobID, bool) error) error {
	for _, id := range n {
		if err := named(id, true); err != nil {
			return err
		}
	}
	return nil
}

func (n recorded) List([]byte) []format.BlobID { return nil }

func TestHalfWrittenFilesAreSwept(t *testing.T) {
	th := newTestThread(t)
	s := th.open(t)
	big := block(1, 1<<20)
	id := put(t, s, big)[0]
	left := filepath.Join(s.dir(), tempPrefix+"1")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = th.open(t)
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Fatalf("got %v of a half written file", err)
	}
	if got, err := s.Open(t.Context(), id); err != nil || !bytes.Equal(got, big) {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
}

// While blobs are held nothing is deleted, and who gives up waiting has deleted nothing;
// a hold may be released twice.
func TestHeldBlobsAreNotCollected(t *testing.T) {
	s := newTestThread(t).open(t)
	release := s.Hold()
	id := put(t, s, []byte("an upload"))[0]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, _, err := s.Collect(ctx, recorded{}); n != 0 || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %d, %v", n, err)
	}
	done := make(chan error, 1)
	go func() {
		n, _, err := s.Collect(context.Background(), recorded{})
		if err == nil && n != 1 {
			err = errors.New("the blob was not deleted")
		}
		done <- err
	}()
	if !s.Has(id) {
		t.Fatal("a blob that is held was deleted")
	}
	release()
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s.Has(id) {
		t.Fatal("the blob stays")
	}
}

// Blobs that came from a peer stay, named or not, as the record that names them may
// still travel. Files that no row names go.
func TestWhatComesFromPeersStaysAWhile(t *testing.T) {
	s := newTestThread(t).open(t)
	theirs, mine := block(1, 100_000), block(2, 100_000)
	if err := s.Take(t.Context(), [][]byte{theirs}); err != nil {
		t.Fatal(err)
	}
	own := put(t, s, mine)[0]
	orphan := s.path(format.BlobIDOf(block(3, 100)))
	if err := errors.Join(os.MkdirAll(filepath.Dir(orphan), 0o700), os.WriteFile(orphan, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	n, size, err := s.Collect(t.Context(), recorded{})
	if err != nil || n != 1 || size < int64(len(mine)) {
		t.Fatalf("got %d blobs of %d bytes, %v", n, size, err)
	}
	if !s.Has(format.BlobIDOf(theirs)) || s.Has(own) {
		t.Fatal("other blobs are held than the peer's")
	}
	for _, path := range []string{s.path(own), orphan} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Fatalf("got %v of a file without a row", err)
		}
	}
}

// A closed thread writes and deletes nothing: Remove has the last word.
func TestClosedThreadsWriteNothing(t *testing.T) {
	th := newTestThread(t)
	s := th.open(t)
	put(t, s, []byte("small"))
	_, want := s.Counts()
	th.closed = errors.New("closed")
	if _, err := s.Put(t.Context(), [][]byte{block(1, 100_000)}); !errors.Is(err, th.closed) {
		t.Fatalf("got %v", err)
	}
	if n, _, err := s.Collect(t.Context(), recorded{}); n != 0 || !errors.Is(err, th.closed) {
		t.Fatalf("got %d, %v", n, err)
	}
	if n, size := s.Counts(); n != 1 || size != want {
		t.Fatalf("got %d blobs of %d bytes", n, size)
	}
}

// Blobs are begun again from rows under other keys, and whatever is altered is left;
// so does a check find it.
func TestRefillAndCheck(t *testing.T) {
	th := newTestThread(t)
	old := th.open(t)
	small, big, bad := block(1, 100), block(2, 100_000), block(3, 100_000)
	ids := put(t, old, small, big, bad)
	if err := os.WriteFile(old.path(ids[2]), []byte("altered"), 0o600); err != nil {
		t.Fatal(err)
	}
	snap := th.Store.Snapshot()
	defer snap.Release()
	var found []error
	n, err := old.Check(snap, func(int) error { return nil }, func(err error) { t.Error(err) },
		func(_ format.BlobID, err error) { found = append(found, err) })
	if err != nil || n != 3 || len(found) != 1 {
		t.Fatalf("got %d blobs, %v, found %v", n, err, found)
	}

	was := th.Rows
	th.Rows, th.Refs, th.Lacks = []byte("c"), []byte("C"), []byte("M")
	s := th.open(t)
	grew := th.grew.Wait()
	taken, err := s.Refill(t.Context(), snap, was, []byte("m"))
	if err != nil || taken != 2 || s.Lacking() != 1 {
		t.Fatalf("got %d taken, %d lacking, %v", taken, s.Lacking(), err)
	}
	<-grew
	refs, upTo, err := s.After(0, 100)
	if err != nil || len(refs) != 2 || upTo != 2 {
		t.Fatalf("got %v up to %d, %v", refs, upTo, err)
	}
	for _, r := range refs {
		if b, err := s.Sealed(r.ID); err != nil || len(b) != r.Size || !slices.Contains(ids[:2], r.ID) {
			t.Fatalf("blob %d: %d bytes, %v", r.N, len(b), err)
		}
	}
}
