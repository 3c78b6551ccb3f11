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
	n, _, err := Open(path, []byte("device"))
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
	if n, _, err = Open(path, []byte("device")); err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if all := n.All(); len(all) != 1 || all[0].Name != "kept" {
		t.Errorf("got %+v, want the one that was kept", all)
	}
}

// A note of another home says nothing of this one; one that does not say whose it is, is
// this one's from then on.
func TestNoteOfAnotherHome(t *testing.T) {
	path := filepath.Join(t.TempDir(), "databases.note")
	open := func(owner, was string) *Note {
		t.Helper()
		n, got, err := Open(path, []byte(owner))
		if err != nil || got != was {
			t.Fatalf("got %q, %v, want %q", got, err, was)
		}
		t.Cleanup(func() { _ = n.Close() })
		return n
	}
	n := open("a", "")
	err := errors.Join(n.Keep(Database{Thread: net.ThreadID{1}, Number: 1, Name: "of a"}), n.SetPeers([]string{"peer"}), n.Complete(7), n.Close())
	if err != nil {
		t.Fatal(err)
	}
	if n = open("a", ""); len(n.All()) != 1 {
		t.Fatalf("got %+v", n.All())
	}
	n = open("b", "was that of another home")
	if len(n.All()) != 0 || len(n.Peers()) != 0 || n.CompleteAt(7) {
		t.Fatalf("got %+v, %v", n.All(), n.Peers())
	}
	if err := n.Keep(Database{Thread: net.ThreadID{2}, Number: 1, Name: "of b"}); err != nil {
		t.Fatal(err)
	}
	if n = open("b", ""); len(n.All()) != 1 {
		t.Fatalf("got %+v", n.All())
	}

	if err := os.WriteFile(path, append([]byte(noteMagic), make([]byte, 100)...), 0o600); err != nil {
		t.Fatal(err)
	}
	open("a", "")
	open("b", "was that of another home")
}
