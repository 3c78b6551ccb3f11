package buckets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/iotest"
)

// A push whose files come one by one, and can be read once only, does what one of
// a folder does: what is there is left alone, what cannot be read to its end
// leaves no trace, and with Remove nothing goes that could not be looked at.
func TestPushOfAStream(t *testing.T) {
	b := newReplicas(t, 1)[0]
	once := func(p []byte) io.Reader { return io.MultiReader(bytes.NewReader(p)) }
	small, large := noise(1, 100), noise(2, 3*ChunkSize+5)
	push := func(remove bool, files ...File) Report {
		t.Helper()
		p := b.Pusher(PushOptions{Remove: remove})
		for _, f := range files {
			if err := p.Take(t.Context(), f); err != nil {
				t.Fatal(err)
			}
		}
		r, err := p.Close(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	both := func() []File {
		return []File{{Path: "large", Size: int64(len(large)), Body: once(large)}, {Path: "sub/small", Size: 100, Body: once(small)}}
	}
	if r := push(false, both()...); r.Added != 2 || r.Bytes != int64(len(small)+len(large)) {
		t.Errorf("got %+v", r)
	}
	if r := push(false, both()...); r.Unchanged != 2 || r.Bytes != 0 {
		t.Errorf("again: got %+v", r)
	}
	broken := io.MultiReader(bytes.NewReader(noise(3, ChunkSize+1)), iotest.ErrReader(errors.New("broken")))
	r := push(true, File{Path: "large", Size: 1, Body: broken}, File{Path: "sub/", Reason: "cannot be read"},
		File{Path: "bad\\name", Body: once(small)}, File{Path: "empty/"})
	if r.Added+r.Changed+r.Removed != 0 || len(r.Skipped) != 3 {
		t.Errorf("what cannot be read: got %+v", r)
	}
	var got bytes.Buffer
	if err := b.Cat(t.Context(), "large", &got, Whole); err != nil || !bytes.Equal(got.Bytes(), large) {
		t.Errorf("large: %d bytes, %v", got.Len(), err)
	}
	if r := push(true, File{Path: "large", Size: int64(len(large)), Body: once(large)}); r.Removed != 2 {
		t.Errorf("removed: got %+v", r)
	}
}

// A file that cannot be read whole keeps the ones that were whole, and none of
// itself.
func TestPullKeepsWhatIsWhole(t *testing.T) {
	b := newReplicas(t, 1)[0]
	for _, name := range []string{"a", "b", "c"} {
		if _, err := b.PutFile(t.Context(), name, bytes.NewReader([]byte(name))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.PutFile(t.Context(), "large", bytes.NewReader(noise(4, 3*ChunkSize))); err != nil {
		t.Fatal(err)
	}
	blobs := b.blobs
	for name, fail := range map[string]int64{"c": 2, "large": 4} {
		dir := t.TempDir()
		f := &failingBlobs{Blobs: blobs}
		f.left.Store(fail)
		b.blobs = f
		if _, err := b.PullDir(t.Context(), dir, PullOptions{}); err == nil {
			t.Errorf("%s: no error", name)
		}
		for _, whole := range []string{"a", "b"} {
			if got, err := os.ReadFile(filepath.Join(dir, whole)); err != nil || string(got) != whole {
				t.Errorf("%s: %s has %q, %v", name, whole, got, err)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is there", name)
		}
	}
}

// A failingBlobs loses every block after some.
type failingBlobs struct {
	Blobs
	left atomic.Int64
}

func (f *failingBlobs) Get(ctx context.Context, id BlobID) ([]byte, error) {
	if f.left.Load() < 0 {
		return nil, errors.New("lost")
	}
	return f.Blobs.Get(ctx, id)
}

func (f *failingBlobs) GetOf(ctx context.Context, id BlobID, sum [32]byte) ([]byte, error) {
	if f.left.Add(-1) < 0 {
		return nil, errors.New("lost")
	}
	return f.Blobs.GetOf(ctx, id, sum)
}

// A pull replaces what a pull wrote, and nothing else: what was changed here, or was here
// before, with another size or the same one, lies beside, under a name that was free.
func TestPullKeepsWhatItDidNotWrite(t *testing.T) {
	b := newReplicas(t, 1)[0]
	put := func(bodies map[string]string) { pushDir(t, b, folder(t, bodies), PushOptions{}) }
	write := func(name, body string) {
		if err := os.WriteFile(name, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	large := string(noise(5, 2*ChunkSize))
	put(map[string]string{"ours": "one", "large": large, "edited": "one", "same size": "one", "foreign": "one", "sub/equal": "one"})
	dst := t.TempDir()
	write(filepath.Join(dst, "foreign"), "was here before")
	if r := pullDir(t, b, dst); r.Added != 5 || r.Changed != 1 || len(r.Kept) != 1 || r.Kept[0].Path != "foreign" {
		t.Fatalf("got %+v", r)
	}
	want := map[string]string{"ours": "one", "large": large, "edited": "one", "same size": "one", "foreign": "one", "foreign.kept": "was here before", "sub/equal": "one"}
	if got := contents(t, dst); !maps.Equal(got, want) {
		t.Fatalf("got %v", slices.Sorted(maps.Keys(got)))
	}
	if r := pullDir(t, b, dst); r.Unchanged != 6 || len(r.Kept) != 0 {
		t.Fatalf("again: got %+v", r)
	}
	for n := 1; n < 4; n++ {
		write(filepath.Join(dst, "edited"), fmt.Sprint("my work ", n))
		write(filepath.Join(dst, "same size"), fmt.Sprint("my", n))
		put(map[string]string{"ours": fmt.Sprint("theirs ", n), "large": large[n:], "edited": fmt.Sprint("theirs ", n), "same size": fmt.Sprint("th", n), "sub/equal": "one"})
		if r := pullDir(t, b, dst); r.Changed != 4 || len(r.Kept) != 2 || len(r.Skipped) != 0 {
			t.Fatalf("%d: got %+v", n, r)
		}
		suffix := ".kept"
		if n > 1 {
			suffix = fmt.Sprint(".kept-", n)
		}
		want["ours"], want["large"], want["edited"], want["same size"] = fmt.Sprint("theirs ", n), large[n:], fmt.Sprint("theirs ", n), fmt.Sprint("th", n)
		want["edited"+suffix], want["same size"+suffix] = fmt.Sprint("my work ", n), fmt.Sprint("my", n)
		if got := contents(t, dst); !maps.Equal(got, want) {
			t.Fatalf("%d: got %v, want %v", n, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	}
}
