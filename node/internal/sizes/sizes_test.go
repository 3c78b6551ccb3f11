package sizes

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A size is measured again once it is too old, and a folder that is not there has none.
func TestFolder(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	write := func(name string, n int) {
		t.Helper()
		path := filepath.Join(dir, "a", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var s Folder
	of := func(now time.Time) int64 {
		t.Helper()
		n, err := s.Of(filepath.Join(dir, "a"), now)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := of(now); n != 0 {
		t.Errorf("a folder that is not there has %d bytes", n)
	}
	write("x/1", 1000)
	write("2", 7)
	if n := of(now.Add(holds - 1)); n != 0 {
		t.Errorf("%d bytes: measured again too soon", n)
	}
	if n := of(now.Add(holds)); n != 1007 {
		t.Errorf("got %d bytes, want 1007", n)
	}
	if n := of(now.Add(-time.Hour)); n != 1007 { // the clock was set back
		t.Errorf("got %d bytes, want 1007", n)
	}
}
