package node_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weftdb/weft/buckets"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/node"
)

// content is n bytes that nothing else has.
func content(seed uint64, n int) string {
	r, b := rand.New(rand.NewPCG(seed, 7)), make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// A shelf is a bucket of a node, and what it should hold.
type shelf struct {
	t     *testing.T
	n     *node.Node
	b     *buckets.Bucket
	files map[string]string
}

func newShelf(t *testing.T, n *node.Node, name, database string) *shelf {
	t.Helper()
	b, _, err := n.CreateBucket(t.Context(), name, database)
	if err != nil {
		t.Fatal(err)
	}
	return &shelf{t, n, b, map[string]string{}}
}

func (s *shelf) put(path, data string) {
	s.t.Helper()
	if _, err := s.b.PutFile(s.t.Context(), path, strings.NewReader(data)); err != nil {
		s.t.Fatal(err)
	}
	s.files[path] = data
}

func (s *shelf) remove(path string) {
	s.t.Helper()
	if err := s.b.Remove(s.t.Context(), path); err != nil {
		s.t.Fatal(err)
	}
	delete(s.files, path)
}

// check reads every file.
func (s *shelf) check() {
	s.t.Helper()
	for path, want := range s.files {
		var got bytes.Buffer
		if err := s.b.Cat(s.t.Context(), path, &got, buckets.Whole); err != nil || got.String() != want {
			s.t.Errorf("%s: got %d bytes, %v, want %d", path, got.Len(), err, len(want))
		}
	}
}

func blobs(t *testing.T, n *node.Node, name string) (count, bytes int64) {
	t.Helper()
	count, bytes, err := node.Blobs(n, name)
	if err != nil {
		t.Fatal(err)
	}
	return count, bytes
}

// blobFiles counts the files of blobs in a home.
func blobFiles(t *testing.T, home string) (n int) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(home, "blobs"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return n
}

func TestCompactFreesFiles(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	n := open(t, node.Config{Home: home})
	a := newShelf(t, n, "a", "")
	b := newShelf(t, n, "b", "a")
	both, again := content(1, 100_000), content(2, 700_000)
	a.put("both", both)
	a.put("other name", both)
	b.put("both", both)
	a.put("again", again)     // three leaves and a manifest
	a.put("small", "a block") // in the store
	a.put("replaced", content(3, 90_000))
	b.put("dir/removed", content(4, 300_000))
	b.put("stays", content(5, 600_000))
	a.put("two/leaves", content(6, 300_000))

	// Nothing is removed: nothing goes.
	if c := compact(t, n, "a"); c.Blobs != 0 || c.BlobsKept != "" {
		t.Fatalf("got %+v", c)
	}
	a.remove("both")
	b.remove("both")
	a.remove("again")
	a.remove("small")
	a.put("replaced", content(7, 80_000))
	b.remove("dir/removed")
	stray := filepath.Join(home, "blobs", "00")
	if dirs, err := filepath.Glob(filepath.Join(home, "blobs", "*", "*")); err == nil && len(dirs) > 0 {
		stray = filepath.Join(dirs[0], strings.Repeat("0a", 32)) // as a crash leaves it
	}
	if err := os.WriteFile(stray, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := compact(t, n, "a")
	if c.Blobs != 4+1+1+3 || c.BlobBytes < 700_000+90_000+300_000 {
		t.Fatalf("got %+v, want 9 blobs: of again 4, small 1, replaced 1, removed 3", c)
	}
	a.check()
	b.check()
	if _, err := os.Stat(stray); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that nothing names stays: %v", err)
	}
	// other name 1, replaced 1, stays 3, two/leaves 1 of 256 KiB, the other is in the store
	if got := blobFiles(t, home); got != 1+1+3+1 {
		t.Errorf("%d files of blobs, want 6", got)
	}
	held, size := blobs(t, n, "a")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = open(t, node.Config{Home: home})
	if got, bytes := blobs(t, n, "a"); got != held || bytes != size {
		t.Errorf("after opening %d blobs, %d bytes, want %d, %d", got, bytes, held, size)
	}
	var err error
	if a.b, err = n.Bucket(t.Context(), "a/a"); err != nil {
		t.Fatal(err)
	}
	if b.b, err = n.Bucket(t.Context(), "a/b"); err != nil {
		t.Fatal(err)
	}
	a.put("again", again)
	a.remove("other name")
	a.put("other name", both) // before it is collected
	if c := compact(t, n, "a"); c.Blobs != 0 {
		t.Fatalf("got %+v, want nothing deleted", c)
	}
	a.check()
	b.check()

	// A bucket that is dropped.
	d, err := n.Database(t.Context(), "a")
	if err == nil {
		err = d.DropCollection(t.Context(), "bucket.b")
	}
	if err != nil {
		t.Fatal(err)
	}
	if c := compact(t, n, "a"); c.Blobs != 4 {
		t.Fatalf("got %+v, want the 4 blobs of stays", c)
	}
	a.check()
}

// Who stores or reads a file when blobs are collected is not disturbed.
func TestFilesInUseAreKept(t *testing.T) {
	n := open(t, node.Config{})
	s := newShelf(t, n, "a", "")
	s.put("read", content(1, 3<<20))
	old := content(2, 500_000)
	s.put("old", old)
	s.remove("old")

	// A read of a file that is removed meanwhile, and an upload that has stored
	// blocks, old ones among them, and no entry yet.
	gate := make(chan struct{})
	read := make(chan error, 1)
	var got bytes.Buffer
	started := make(chan struct{})
	go func() {
		w := &gatedWriter{w: &got, started: started, gate: gate}
		read <- s.b.Cat(context.Background(), "read", w, buckets.Whole)
	}()
	<-started
	want := s.files["read"]
	s.remove("read")
	fresh := content(3, 3<<20)
	pr, pw := io.Pipe()
	put := make(chan error, 1)
	go func() {
		_, err := s.b.PutFile(context.Background(), "new", pr)
		put <- err
	}()
	if _, err := io.WriteString(pw, old+fresh); err != nil {
		t.Fatal(err)
	}
	done := make(chan node.Compaction, 1)
	go func() {
		c, err := n.Compact(context.Background(), "a")
		if err != nil {
			t.Error(err)
		}
		done <- c
	}()
	select {
	case c := <-done:
		t.Fatalf("blobs were collected under a read and an upload: %+v", c)
	default:
	}
	close(gate)
	if err := <-read; err != nil || got.String() != want {
		t.Errorf("read %d bytes, %v", got.Len(), err)
	}
	if err := pw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-put; err != nil {
		t.Fatal(err)
	}
	s.files["new"] = old + fresh
	<-done
	s.check()
	// What was read is gone now, at the latest.
	compact(t, n, "a")
	s.check()
	if got, _ := blobs(t, n, "a"); got != 15 { // 14 leaves of 256 KiB and a manifest
		t.Errorf("%d blobs are held, want the 15 of the new file", got)
	}

	// Who gives up waiting deletes nothing.
	s.remove("new")
	gate, started = make(chan struct{}), make(chan struct{})
	s.put("read", content(4, 1<<20))
	go func() {
		read <- s.b.Cat(context.Background(), "read", &gatedWriter{w: io.Discard, started: started, gate: gate}, buckets.Whole)
	}()
	<-started
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c, err := n.Compact(ctx, "a"); err == nil {
		t.Errorf("got %+v of a canceled compaction", c)
	}
	close(gate)
	if err := <-read; err != nil {
		t.Error(err)
	}
}

// A gatedWriter says when it is written to, and waits.
type gatedWriter struct {
	w       io.Writer
	started chan struct{}
	gate    chan struct{}
	open    bool
}

func (g *gatedWriter) Write(p []byte) (int, error) {
	if !g.open {
		g.open = true
		close(g.started)
		<-g.gate
	}
	return g.w.Write(p)
}

// ageBlobs has the blobs that came from peers to a home have come long ago.
func ageBlobs(t *testing.T, home string) {
	t.Helper()
	s, err := engines.Open(filepath.Join(home, "store"), nil)
	if err != nil {
		t.Fatal(err)
	}
	tx, n := s.Begin(), 0
	snap := s.Snapshot()
	it := snap.Iterate(store.Prefix([]byte("nt")))
	for ; it.Valid(); it.Next() {
		if k := it.Key(); len(k) == len("nt")+4+1 && k[len(k)-1] == 'f' {
			err = errors.Join(err, tx.Delete(slices.Clone(k)))
			n++
		}
	}
	it.Close()
	snap.Release()
	if err = errors.Join(err, tx.Commit(), s.Close()); err != nil || n == 0 {
		t.Fatalf("%d threads had blobs that came lately, %v", n, err)
	}
}

// ageCuts has the checkpoints of a home have been in force for long.
func ageCuts(t *testing.T, home string) {
	t.Helper()
	s, err := engines.Open(filepath.Join(home, "store"), nil)
	if err != nil {
		t.Fatal(err)
	}
	tx, n := s.Begin(), 0
	snap := s.Snapshot()
	it := snap.Iterate(store.Prefix([]byte("nt")))
	for ; it.Valid(); it.Next() {
		if k := it.Key(); len(k) == len("nt")+4+1+32 && k[6] == 'c' {
			err = errors.Join(err, tx.Put(slices.Clone(k), make([]byte, 8)))
			n++
		}
	}
	it.Close()
	snap.Release()
	if err = errors.Join(err, tx.Commit(), s.Close()); err != nil || n == 0 {
		t.Fatalf("%d checkpoints are in force, %v", n, err)
	}
}

// A device that was away while a file was removed keeps its blocks until it knows that the
// history is cut; when it stores them again, those that have deleted them get them back.
func TestFilesRemovedWhileAway(t *testing.T) {
	w := newTown(t)
	ctx := t.Context()
	a := w.device(w.options)
	home := filepath.Join(t.TempDir(), "home")
	b := open(t, node.Config{Home: home})
	if _, err := b.AddRelay(ctx, w.addr, w.options); err != nil {
		t.Fatal(err)
	}
	s := newShelf(t, a, "atlas", "")
	data := content(1, 400_000)
	s.put("map", data)
	s.put("text", content(2, 300_000))
	url, err := a.Invite(ctx, "atlas", node.InviteOptions{Uses: 5})
	if err != nil {
		t.Fatal(err)
	}
	w.becomes(a, "atlas", "identical")
	if _, err := b.Join(ctx, url, "atlas"); err != nil {
		t.Fatal(err)
	}
	w.becomes(b, "atlas", "identical")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	s.remove("map")
	if c := compact(t, a, "atlas"); c.Blobs != 3 {
		t.Fatalf("got %+v, want the 3 blobs of map", c)
	}
	w.becomes(a, "atlas", "identical")

	// b knows nothing of it yet: its history names the file. Its blobs came long ago.
	ageBlobs(t, home)
	b = open(t, node.Config{Home: home})
	waitHash(t, b, "atlas", info(t, a, "atlas"))
	w.becomes(b, "atlas", "identical")
	if c := compact(t, b, "atlas"); c.Blobs != 0 || c.Kept.IsZero() {
		t.Fatalf("at the other device: got %+v, want the history and its files kept", c)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	ageCuts(t, home)
	b = open(t, node.Config{Home: home})
	w.becomes(b, "atlas", "identical")
	if c := compact(t, b, "atlas"); c.Blobs != 3 {
		t.Fatalf("at the other device: got %+v, want the 3 blobs of map", c)
	}
	// When the two meet, what one still has and the other deleted may come once more.
	for _, n := range []*node.Node{a, b} {
		if got, _ := blobs(t, n, "atlas"); got < 3 || got > 6 {
			t.Fatalf("%d blobs are held, want 3 to 6", got)
		}
	}

	// It comes back from b, which stores it again, and is here when b is gone.
	connect(t, b, a)
	again := &shelf{t, b, nil, map[string]string{}}
	if again.b, err = b.Bucket(ctx, "atlas"); err != nil {
		t.Fatal(err)
	}
	again.put("back", data)
	// So does what b has not deleted, and therefore has already.
	s.remove("text")
	if c := compact(t, a, "atlas"); c.Blobs < 3 {
		t.Fatalf("got %+v, want the 3 blobs of text deleted", c)
	}
	again.put("text again", content(2, 300_000))
	s.files["text again"] = content(2, 300_000)
	waitHash(t, a, "atlas", info(t, b, "atlas"))
	identical(t, b, "atlas")
	if err := errors.Join(b.Close(), w.relay.Close()); err != nil {
		t.Fatal(err)
	}
	s.files["back"] = data
	s.check()
}
