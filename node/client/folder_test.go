package client

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
)

// A folder that is pushed and pulled through the API is the same, what cannot go
// is left out and listed, and doing either again moves nothing.
func TestFolder(t *testing.T) {
	c, err := Open(t.Context(), Options{Home: filepath.Join(t.TempDir(), "home")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := c.Buckets.Create(t.Context(), connect.NewRequest(&weftv1.CreateBucketRequest{Name: "b"})); err != nil {
		t.Fatal(err)
	}
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "to")
	large := bytes.Repeat([]byte("weft"), 200_000)
	for _, err := range []error{
		os.MkdirAll(filepath.Join(from, "sub", "empty"), 0o700),
		os.WriteFile(filepath.Join(from, "sub", "large"), large, 0o600),
		os.WriteFile(filepath.Join(from, "none"), nil, 0o600),
		os.WriteFile(filepath.Join(from, "small"), []byte("small"), 0o600),
		os.WriteFile(filepath.Join(from, `back\slash`), []byte("odd"), 0o600),
		os.WriteFile(filepath.Join(from, "not\xffUTF-8"), []byte("odd"), 0o600),
		os.Symlink("small", filepath.Join(from, "link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	push := func(remove bool) *weftv1.PushResponse {
		t.Helper()
		r, err := c.Push(t.Context(), "b", os.DirFS(from), remove, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := push(true); r.GetAdded() != 3 || r.GetBytes() != int64(len(large)+5) || len(r.GetSkipped()) != 3 {
		t.Errorf("pushed: got %v", r)
	}
	if r := push(true); r.GetAdded() != 0 || r.GetUnchanged() != 3 || r.GetBytes() != 0 || r.GetRemoved() != 0 {
		t.Errorf("pushed again: got %v", r)
	}
	pull := func(added, changed, unchanged, skipped int) {
		t.Helper()
		files, last := 0, int64(0)
		r, err := c.Pull(t.Context(), "b", to, func(n int, bytes int64) { files, last = n, bytes })
		if err != nil || r.Added != added || r.Changed != changed || r.Unchanged != unchanged || len(r.Skipped) != skipped {
			t.Errorf("pulled: got %+v, %v, want %d %d %d %d", r, err, added, changed, unchanged, skipped)
		}
		if skipped == 0 && (files != 3 || last != int64(len(large)+5)) {
			t.Errorf("told of %d files, %d bytes", files, last)
		}
	}
	pull(3, 0, 0, 0)
	for _, name := range []string{"none", "small", "sub/large"} {
		got, err := os.ReadFile(filepath.Join(to, name))
		want, werr := os.ReadFile(filepath.Join(from, name))
		if err != nil || werr != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), errors.Join(err, werr))
		}
	}
	if info, err := os.Stat(filepath.Join(to, "sub", "empty")); err != nil || !info.IsDir() {
		t.Errorf("the empty folder: %v", err)
	}
	pull(0, 0, 3, 0)
	// One name in the way leaves the others alone.
	for _, err := range []error{
		os.WriteFile(filepath.Join(to, "small"), []byte("other"), 0o600),
		os.Remove(filepath.Join(to, "none")), os.Mkdir(filepath.Join(to, "none"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	pull(0, 1, 1, 1)
	if left, err := fs.Glob(os.DirFS(to), ".weft*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %s, %v", strings.Join(left, " "), err)
	}
}
