package homenote

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/weftdb/weft/net"
)

// What the file could not take is in it after the next write that can, also one of
// nothing new.
func TestNoteRetries(t *testing.T) {
	path := filepath.Join(t.TempDir(), "databases.note")
	n, _, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	gone, kept := Database{Thread: net.ThreadID{1}, Number: 1, Name: "gone"}, Database{Thread: net.ThreadID{2}, Number: 2, Name: "kept"}
	if err := errors.Join(n.Keep(gone), n.Keep(kept), n.close()); err != nil {
		t.Fatal(err)
	}
	if n.f, err = os.Open(path); err != nil { // it takes no writes
		t.Fatal(err)
	}
	if n.Remove(gone.Thread) == nil {
		t.Fatal("a file that takes no writes took one")
	}
	if err := errors.Join(n.Remove(gone.Thread), n.Close()); err != nil {
		t.Fatal(err)
	}
	if n, _, err = Open(path); err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if all := n.All(); len(all) != 1 || all[0].Name != "kept" {
		t.Errorf("got %+v, want the one that was kept", all)
	}
}
