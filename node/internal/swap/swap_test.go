package swap

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

var errDisk = errors.New("the disk does not do that")

// Wherever an exchange fails, or the process ends, there is one store afterwards: the old
// one, or the new one with its note. Nothing is lost.
func TestExchangeFails(t *testing.T) {
	for fails := range 4 { // at the rename with this number; of three
		for _, ends := range []bool{false, true} {
			dir := t.TempDir()
			write := func(text string, names ...string) {
				t.Helper()
				path := filepath.Join(append([]string{dir}, names...)...)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			read := func(names ...string) string {
				b, err := os.ReadFile(filepath.Join(append([]string{dir}, names...)...))
				if err != nil {
					return err.Error()
				}
				return string(b)
			}
			write("old", "store", "data")
			write("old note", "NOTE")
			write("new", "repaired", "data")
			write("new note", "repaired", "NOTE")
			n := 0
			s := &Swap{Dir: dir, Store: "store", Repaired: "repaired", Marker: "REPAIRED", Note: "NOTE"}
			s.Rename = func(old, to string) error {
				n++
				if n-1 == fails || ends && n-1 > fails {
					return errDisk
				}
				return os.Rename(old, to)
			}
			if err := s.Complete(); err != nil {
				t.Fatal(err)
			}
			kept := filepath.Join(dir, "kept")
			err := s.Exchange(kept)
			if fails < 3 && !errors.Is(err, errDisk) || fails == 3 && err != nil {
				t.Fatalf("rename %d fails: got %v", fails, err)
			}
			back := read("store", "data")
			switch {
			case fails == 0, fails == 1 && !ends:
				if back != "old" || read("NOTE") != "old note" {
					t.Errorf("rename %d fails: the store has %q, the note is %q", fails, back, read("NOTE"))
				}
				continue
			case fails == 1:
				if read("kept", "data") != "old" || read("repaired", "data") != "new" {
					t.Errorf("rename %d fails, and all after it: a store is lost", fails)
				}
			}
			s.Rename = nil
			if err := s.Finish(); err != nil {
				t.Fatal(err)
			}
			if read("store", "data") != "new" || read("NOTE") != "new note" || read("kept", "data") != "old" {
				t.Errorf("rename %d fails: the next start has the store %q with the note %q, kept is %q", fails, read("store", "data"), read("NOTE"), read("kept", "data"))
			}
			if err := s.Finish(); err != nil || read("store", "data") != "new" {
				t.Errorf("the start after it: %v, %q", err, read("store", "data"))
			}
		}
	}
}
