package buckets

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ipfs/go-cid"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// blocks is a store of blobs that can be made to lie.
type memoryBlobs struct {
	mu   sync.Mutex // guards all below
	m    map[BlobID][]byte
	puts int
	lie  func(id BlobID, p []byte) []byte // if set: what Get returns

	lacking bool // some are damaged
}

func newBlobs() *memoryBlobs { return &memoryBlobs{m: map[BlobID][]byte{}} }

func (b *memoryBlobs) Put(_ context.Context, plain [][]byte) ([]BlobID, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.puts++
	ids := make([]BlobID, len(plain))
	for i, p := range plain {
		if len(p) > MaxBlob || len(p) == 0 {
			return nil, fmt.Errorf("block of %d bytes", len(p))
		}
		ids[i] = sha256.Sum256(append([]byte("sealed"), p...))
		b.m[ids[i]] = bytes.Clone(p)
	}
	return ids, nil
}

func (b *memoryBlobs) GetOf(ctx context.Context, id BlobID, sum [32]byte) ([]byte, error) {
	p, err := b.Get(ctx, id)
	if err == nil && sha256.Sum256(p) != sum {
		err = errors.New("other bytes")
	}
	return p, err
}

func (b *memoryBlobs) Get(_ context.Context, id BlobID) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.m[id]
	if !ok {
		return nil, fmt.Errorf("no block %x", id[:4])
	}
	if b.lie != nil {
		return b.lie(id, p), nil
	}
	return p, nil
}

func (b *memoryBlobs) Lacking() bool { return b.lacking }

func (b *memoryBlobs) Hold() func() { return func() {} }

// folder writes files into a new directory.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, body := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// contents reads a directory: files to their bytes, empty directories to "".
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if list, err := os.ReadDir(p); err == nil && len(list) == 0 {
				out[filepath.ToSlash(rel)+"/"] = ""
			}
			return nil
		}
		b, err := os.ReadFile(p)
		out[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func pushDir(t testing.TB, b *Bucket, dir string, o PushOptions) Report {
	t.Helper()
	r, err := b.PushDir(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func pullDir(t testing.TB, b *Bucket, dir string) Report {
	t.Helper()
	r, err := b.PullDir(t.Context(), dir, PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func cat(t testing.TB, b *Bucket, path string, r Range) string {
	t.Helper()
	var out bytes.Buffer
	if err := b.Cat(t.Context(), path, &out, r); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func sample() map[string]string {
	return map[string]string{
		"empty":                    "",
		"small.txt":                "hello world\n",
		"exact":                    string(noise(1, ChunkSize)),
		"large.bin":                string(noise(2, 5*ChunkSize+17)),
		"a/b/c/deep.txt":           "deep",
		"a/b.txt":                  "beside",
		"a.txt":                    "sorts between a and a/",
		"a/b/second":               string(noise(3, ChunkSize+1)),
		"name with spaces/é":       "accents",
		"name with spaces/e\u0301": "kept as they are",
	}
}

func TestPushPull(t *testing.T) {
	b := newReplicas(t, 1)[0]
	files := sample()
	src := folder(t, files)
	if err := os.MkdirAll(filepath.Join(src, "void/inner"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := pushDir(t, b, src, PushOptions{})
	if r.Added != len(files) || r.Changed+r.Unchanged+r.Removed != 0 || len(r.Skipped) != 0 {
		t.Fatalf("got %+v, want %d added", r, len(files))
	}
	dst := filepath.Join(t.TempDir(), "new")
	p := pullDir(t, b, dst)
	if got, want := contents(t, dst), contents(t, src); !maps.Equal(got, want) {
		t.Fatalf("pulled %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	if p.Added != len(files) || p.Root != r.Root {
		t.Fatalf("got %+v", p)
	}
	if p := pullDir(t, b, dst); p.Unchanged != len(files) || p.Added+p.Changed != 0 {
		t.Fatalf("pulled again: got %+v, want all unchanged", p)
	}
	if r := pushDir(t, b, dst, PushOptions{Remove: true}); r.Unchanged != len(files) || r.Added+r.Changed+r.Removed != 0 || r.Root != p.Root {
		t.Fatalf("pushed again: got %+v, want all unchanged", r)
	}
	for name, body := range files {
		if got := cat(t, b, name, Whole); got != body {
			t.Fatalf("%s: got %d bytes, want %d", name, len(got), len(body))
		}
	}
}

func TestPushChangesAndRemoves(t *testing.T) {
	b := newReplicas(t, 1)[0]
	src := folder(t, map[string]string{"keep": "1", "change": "2", "same size": "3", "gone/file": "4"})
	first := pushDir(t, b, src, PushOptions{})
	for name, body := range map[string]string{"change": "22", "same size": "x", "new": "5"} {
		if err := os.WriteFile(filepath.Join(src, name), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(src, "gone")); err != nil {
		t.Fatal(err)
	}
	r := pushDir(t, b, src, PushOptions{})
	if r.Added != 1 || r.Changed != 2 || r.Unchanged != 1 || r.Removed != 0 {
		t.Fatalf("got %+v", r)
	}
	if r = pushDir(t, b, src, PushOptions{Remove: true}); r.Removed != 1 || r.Unchanged != 4 {
		t.Fatalf("got %+v", r)
	}
	if r.Root == first.Root {
		t.Fatal("the root did not change")
	}
	fresh := newReplicas(t, 1)[0]
	if f := pushDir(t, fresh, src, PushOptions{}); f.Root != r.Root {
		t.Fatalf("got root %s after changes, want that of a fresh push, %s", r.Root, f.Root)
	}
}

// A directory goes with all that is in it, and nothing else does; what is left is what a push of
// the rest gives.
func TestRemoveAll(t *testing.T) {
	b := newReplicas(t, 1)[0]
	rest := map[string]string{"notes.txt": "1", "notes0": "2", "a/notes/x": "3"}
	pushDir(t, b, folder(t, rest), PushOptions{})
	many := map[string]string{"notes/sub/deep": "4"}
	for i := range batchChanges + 3 {
		many[fmt.Sprintf("notes/%d", i)] = fmt.Sprint(i)
	}
	pushDir(t, b, folder(t, many), PushOptions{})
	if err := b.Remove(t.Context(), "notes"); !errors.Is(err, ErrPath) || !strings.Contains(err.Error(), "notes/") {
		t.Errorf("a directory as a file: got %v", err)
	}
	if n, err := b.RemoveAll(t.Context(), "notes/"); err != nil || n != len(many) {
		t.Fatalf("removed %d, %v, want %d", n, err, len(many))
	}
	fresh := newReplicas(t, 1)[0]
	want := pushDir(t, fresh, folder(t, rest), PushOptions{}).Root
	if got, err := b.Root(t.Context()); err != nil || got != want {
		t.Errorf("got root %s, %v, want %s", got, err, want)
	}
	for _, dir := range []string{"notes", "none/", "notes.txt"} {
		if n, err := b.RemoveAll(t.Context(), dir); n != 0 || !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: removed %d, %v", dir, n, err)
		}
	}
	for _, dir := range []string{"", "/", "../", "a//"} {
		if n, err := b.RemoveAll(t.Context(), dir); n != 0 || !errors.Is(err, ErrPath) {
			t.Errorf("%q: removed %d, %v", dir, n, err)
		}
	}
}

// The root is what boxo makes of the same folder, by way of its own directories.
func TestRootMatchesBoxo(t *testing.T) {
	b := newReplicas(t, 1)[0]
	src := folder(t, sample())
	if err := os.Mkdir(filepath.Join(src, "void"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, want := pushDir(t, b, src, PushOptions{}).Root, added(t, src).Cid(); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

// A directory is told as one, with and without a slash; what is not there is not found.
func TestCatOfDirectories(t *testing.T) {
	b := newReplicas(t, 1)[0]
	src := folder(t, map[string]string{"docs/a.txt": "a"})
	if err := os.Mkdir(filepath.Join(src, "void"), 0o755); err != nil {
		t.Fatal(err)
	}
	pushDir(t, b, src, PushOptions{})
	for path, want := range map[string]error{
		"docs": ErrPath, "docs/": ErrPath, "void": ErrPath, "void/": ErrPath, "docs/a.txt/": ErrNotFound, "none/": ErrNotFound, "none": ErrNotFound,
	} {
		if err := b.Cat(t.Context(), path, io.Discard, Range{Length: -1}); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", path, err, want)
		}
	}
}

func TestRanges(t *testing.T) {
	b := newReplicas(t, 1)[0]
	body := string(noise(4, 3*ChunkSize+100))
	for name, p := range map[string]string{"large": body, "small": body[:1000], "empty": ""} {
		if _, err := b.PutFile(t.Context(), name, strings.NewReader(p)); err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(rt *rapid.T) {
			off := rapid.Int64Range(0, int64(len(p))).Draw(rt, "offset")
			length := rapid.Int64Range(-1, int64(len(p))+10).Draw(rt, "length")
			want := p[off:]
			if length >= 0 {
				want = want[:min(length, int64(len(want)))]
			}
			var out bytes.Buffer
			if err := b.Cat(t.Context(), name, &out, Range{Offset: off, Length: length}); err != nil || out.String() != want {
				rt.Fatalf("%s %d+%d: got %d bytes, %v, want %d", name, off, length, out.Len(), err, len(want))
			}
		})
		if err := b.Cat(t.Context(), name, &bytes.Buffer{}, Range{Offset: int64(len(p)) + 1}); !errors.Is(err, ErrRange) {
			t.Fatalf("%s: got %v, want ErrRange", name, err)
		}
	}
}

// Blobs that are not what they should be are named, whichever they are, and no
// wrong byte is written.
func TestLyingBlobs(t *testing.T) {
	b := newReplicas(t, 1)[0]
	src := folder(t, map[string]string{"large": string(noise(5, 2*ChunkSize+9)), "small": "small"})
	pushDir(t, b, src, PushOptions{})
	blobs := b.blobs.(*memoryBlobs)
	for name, lie := range map[string]func(BlobID, []byte) []byte{
		"a bit":  func(_ BlobID, p []byte) []byte { q := bytes.Clone(p); q[len(q)/2] ^= 1; return q },
		"cut":    func(_ BlobID, p []byte) []byte { return p[:len(p)-1] },
		"longer": func(_ BlobID, p []byte) []byte { return append(bytes.Clone(p), 0) },
		"empty":  func(BlobID, []byte) []byte { return nil },
		"manifests": func(_ BlobID, p []byte) []byte {
			leaves, err := decodeManifest(p)
			if err != nil {
				return p
			}
			leaves[0], leaves[1] = leaves[1], leaves[0] // the same leaves, otherwise
			return encodeManifest(leaves)
		},
	} {
		blobs.lie = lie
		var out bytes.Buffer
		err := b.Cat(t.Context(), "large", &out, Whole)
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "large") {
			t.Errorf("%s: got %v, want ErrCorrupt or ErrMalformed that names the file", name, err)
		}
		if out.Len() != 0 {
			t.Errorf("%s: %d bytes were written", name, out.Len())
		}
		dst := t.TempDir()
		if _, err := b.PullDir(t.Context(), dst, PullOptions{}); err == nil {
			t.Errorf("%s: pulled", name)
		}
		if got := contents(t, dst); got["large"] != "" {
			t.Errorf("%s: a wrong file is in place", name)
		}
	}
	blobs.lie = nil
	pullDir(t, b, t.TempDir())
}

func TestPullStaysInside(t *testing.T) {
	b := newReplicas(t, 1)[0]
	src := folder(t, map[string]string{"link/inner": "1", "dirlink": "2", "file": "3", "plain/x": "4", "isdir": "5"})
	pushDir(t, b, src, PushOptions{})
	outside, dst := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "victim"), []byte("untouched"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.Symlink(outside, filepath.Join(dst, "link")),
		os.Symlink(filepath.Join(outside, "victim"), filepath.Join(dst, "file")),
		os.WriteFile(filepath.Join(dst, "plain"), []byte("in the way"), 0o644),
		os.Mkdir(filepath.Join(dst, "isdir"), 0o755),
	); err != nil {
		t.Fatal(err)
	}
	r := pullDir(t, b, dst)
	var skipped []string
	for _, n := range r.Skipped {
		skipped = append(skipped, n.Path)
	}
	slices.Sort(skipped)
	if want := []string{"file", "isdir", "link/inner", "plain/x"}; !slices.Equal(skipped, want) {
		t.Fatalf("skipped %v, want %v", skipped, want)
	}
	if got := contents(t, outside); len(got) != 1 || got["victim"] != "untouched" {
		t.Fatalf("outside: got %v", got)
	}
	if r.Added != 1 {
		t.Fatalf("got %+v, want one added", r)
	}
}

func TestPushSkips(t *testing.T) {
	b := newReplicas(t, 1)[0]
	src := folder(t, map[string]string{"ok": "1", `back\slash`: "2"})
	if err := os.Symlink("/etc/passwd", filepath.Join(src, "link")); err != nil {
		t.Fatal(err)
	}
	r := pushDir(t, b, src, PushOptions{})
	if r.Added != 1 || len(r.Skipped) != 2 {
		t.Fatalf("got %+v, want one added and two skipped", r)
	}
}

func TestPathsAreRefused(t *testing.T) {
	b := newReplicas(t, 1)[0]
	for _, p := range []string{"../x", "/x", "a//b", "dir/", "", `a\b`} {
		if _, err := b.PutFile(t.Context(), p, strings.NewReader("x")); !errors.Is(err, ErrPath) {
			t.Errorf("put %q: got %v, want ErrPath", p, err)
		}
	}
	for _, err := range []error{b.Cat(t.Context(), "none", &bytes.Buffer{}, Whole), b.Remove(t.Context(), "none")} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	}
}

// A file of the path of a directory is hidden and listed; the directory stays.
func TestFileAndDirectory(t *testing.T) {
	b := newReplicas(t, 1)[0]
	for _, p := range []string{"a", "a.txt", "a/b", "a/b/c", "z"} {
		if _, err := b.PutFile(t.Context(), p, strings.NewReader(p)); err != nil {
			t.Fatal(err)
		}
	}
	o, err := b.Overview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var hidden []string
	for _, n := range o.Conflicts {
		hidden = append(hidden, n.Path)
	}
	if !slices.Equal(hidden, []string{"a", "a/b"}) || o.Files != 3 {
		t.Fatalf("got %v hidden, %d files", hidden, o.Files)
	}
	dst := t.TempDir()
	if r := pullDir(t, b, dst); len(r.Skipped) != 2 || r.Added != 3 {
		t.Fatalf("got %+v", r)
	}
	if got, want := o.Root, added(t, dst).Cid(); got != want {
		t.Fatalf("got root %s, want that of the pulled folder, %s", got, want)
	}
}

func TestPullClearsLeftovers(t *testing.T) {
	b := newReplicas(t, 1)[0]
	pushDir(t, b, folder(t, map[string]string{"f": "1"}), PushOptions{})
	dst := folder(t, map[string]string{pullFolder + "/old": "half a file"})
	if _, err := b.PullDir(t.Context(), dst, PullOptions{Now: func() time.Time { return time.Now().Add(2 * pullOldAge) }}); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, dst); len(got) != 1 || got["f"] != "1" {
		t.Fatalf("got %v", got)
	}
}

// A push of many files makes few batches.
func TestPushBatches(t *testing.T) {
	b := newReplicas(t, 1)[0]
	files := fstest.MapFS{}
	for i := range 1000 {
		files[fmt.Sprintf("d%d/f%d", i%7, i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "file %d", i)}
	}
	calls := 0
	r, err := b.Push(t.Context(), files, PushOptions{Progress: func(Progress) { calls++ }})
	if err != nil || r.Added != 1000 || calls != 1000 {
		t.Fatalf("got %+v, %d calls, %v", r, calls, err)
	}
	if puts := b.blobs.(*memoryBlobs).puts; puts > 8 {
		t.Fatalf("got %d batches, want at most 8", puts)
	}
	n := 0
	for e, err := range b.List(t.Context(), "d3/") {
		if err != nil || !strings.HasPrefix(e.Path, "d3/") {
			t.Fatalf("got %+v, %v", e, err)
		}
		n++
	}
	if n != 143 {
		t.Fatalf("got %d entries, want 143", n)
	}
}

func root(t testing.TB, b *Bucket) cid.Cid {
	t.Helper()
	c, err := b.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// While blocks are lacking, a push stores those of files that the bucket has already too,
// manifests included, and leaves the entries as they are.
func TestPushWhileBlocksLack(t *testing.T) {
	b := newReplicas(t, 1)[0]
	blobs := b.blobs.(*memoryBlobs)
	files := fstest.MapFS{
		"empty": {}, "small": {Data: bytes.Repeat([]byte("s"), 1000)}, "leaf": {Data: bytes.Repeat([]byte("l"), ChunkSize)},
		"large": {Data: bytes.Repeat([]byte("abc"), ChunkSize)},
	}
	push := func(unchanged int) {
		t.Helper()
		for _, fsys := range []fs.FS{files, onceFS{files}} { // files that can be read twice, and not
			if report, err := b.Push(t.Context(), fsys, PushOptions{}); err != nil || report.Unchanged != unchanged {
				t.Fatalf("got %+v, %v", report, err)
			}
			unchanged = len(files)
		}
	}
	push(0)
	want := maps.Clone(blobs.m)
	for _, lacking := range []bool{false, true} {
		clear(blobs.m)
		blobs.lacking = lacking
		push(len(files))
		if lacking && !maps.EqualFunc(blobs.m, want, bytes.Equal) || !lacking && len(blobs.m) > len(want)-2 {
			t.Errorf("lacking %v: %d blocks are stored, of %d", lacking, len(blobs.m), len(want))
		}
	}
}

// A onceFS has files that can be read once.
type onceFS struct{ fs.FS }

func (f onceFS) Open(name string) (fs.File, error) {
	file, err := f.FS.Open(name)
	if dir, ok := file.(fs.ReadDirFile); ok {
		return dir, err
	}
	return struct{ fs.File }{file}, err
}

// A push makes no path that is both a file and a folder: it leaves out what would, with a word,
// and what the bucket had of both already is pushed as before. With Remove it replaces.
func TestPushClashes(t *testing.T) {
	b := newReplicas(t, 1)[0]
	pushDir(t, b, folder(t, map[string]string{"x": "1", "d/e/f": "2", "d/n": "3"}), PushOptions{})
	src := folder(t, map[string]string{"x/y": "4", "x/z/deep": "5", "d/e": "6", "d/new": "7", "d/n/more": "8"})
	if err := os.MkdirAll(filepath.Join(src, "x", "none"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := pushDir(t, b, src, PushOptions{})
	var left []string
	for _, n := range r.Skipped {
		left = append(left, n.Path+": "+n.Reason)
	}
	want := []string{
		"d/e: the bucket has a folder of this name", "d/n/more: the bucket has a file d/n",
		"x/none/: the bucket has a file x", "x/y: the bucket has a file x", "x/z/deep: the bucket has a file x",
	}
	if r.Added != 1 || !slices.Equal(left, want) {
		t.Fatalf("got %d added, left out %q, want 1 and %q", r.Added, left, want)
	}
	if o, err := b.Overview(t.Context()); err != nil || o.Files != 4 || len(o.Conflicts) > 0 {
		t.Fatalf("got %+v, %v", o, err)
	}
	if _, err := b.PutFile(t.Context(), "d/e", strings.NewReader("both")); err != nil {
		t.Fatal(err)
	}
	if r := pushDir(t, b, src, PushOptions{}); r.Changed != 1 || len(r.Skipped) != 4 {
		t.Fatalf("got %+v of one that is both already", r)
	}
	r = pushDir(t, b, src, PushOptions{Remove: true})
	fresh := newReplicas(t, 1)[0]
	if f := pushDir(t, fresh, src, PushOptions{}); len(r.Skipped) > 0 || r.Removed != 3 || f.Root != r.Root {
		t.Fatalf("got %+v, want that of a fresh push, %+v", r, f)
	}
}
