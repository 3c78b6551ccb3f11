package buckets

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// closedFS has files that cannot be opened.
type closedFS struct{ fstest.MapFS }

func (f closedFS) Open(name string) (fs.File, error) {
	if strings.HasPrefix(name, "closed") {
		return nil, &fs.PathError{Op: "openat", Path: name, Err: fs.ErrPermission}
	}
	return f.MapFS.Open(name)
}

func (f closedFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if strings.HasPrefix(name, "closed") {
		_, err := f.Open(name)
		return nil, err
	}
	return f.MapFS.ReadDir(name)
}

// Why a file or folder is left out is told without calls of the system, and without its name,
// which stands beside.
func TestWhyNotRead(t *testing.T) {
	b := newReplicas(t, 1)[0]
	r, err := b.Push(t.Context(), closedFS{fstest.MapFS{"a": {Data: []byte("1")}, "closed.txt": {}, "closed/b": {}}}, PushOptions{})
	if err != nil || r.Added != 1 || len(r.Skipped) != 2 {
		t.Fatalf("got %+v, %v", r, err)
	}
	for _, s := range r.Skipped {
		if s.Reason != "cannot be read: "+fs.ErrPermission.Error() {
			t.Errorf("%s: got %q", s.Path, s.Reason)
		}
	}
}
