package node

import (
	"path/filepath"
	"testing"
)

// A thread that was made when the process ended is a database at the next open,
// under a name that is free; a mailbox that nothing used is made anew.
func TestNameThreads(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	n, err := Open(t.Context(), Config{Home: home})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.CreateDatabase(t.Context(), "taken"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lost", "taken", mailboxName} {
		if _, err := n.host.Create(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	for range 2 { // the second time nothing is left to do
		if n, err = Open(t.Context(), Config{Home: home}); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, d := range n.Databases() {
			names = append(names, d.Name)
			if _, err := n.Database(t.Context(), d.Name); err != nil {
				t.Error(err)
			}
		}
		if len(names) != 3 || names[0] != "lost" || names[1] != "taken" || names[2] != "taken-2" || len(n.host.Threads()) != 3 {
			t.Errorf("got %v and %d threads", names, len(n.host.Threads()))
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
