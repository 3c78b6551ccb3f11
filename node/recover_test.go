package node

import (
	"errors"
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

// A join that cannot be given a name leaves no thread behind, and one of a database that is
// damaged here does not touch what is left of it.
func TestJoinIsUndone(t *testing.T) {
	var nodes [2]*Node
	for i := range nodes {
		n, err := Open(t.Context(), Config{Home: filepath.Join(t.TempDir(), "home")})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}()
		nodes[i] = n
	}
	a, b := nodes[0], nodes[1]
	if _, err := a.CreateDatabase(t.Context(), "atlas"); err != nil {
		t.Fatal(err)
	}
	ref, err := a.DatabaseRef("atlas")
	if err != nil {
		t.Fatal(err)
	}
	join := func(as string) error {
		t.Helper()
		url, err := a.Invite(t.Context(), "atlas", InviteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.Join(t.Context(), url, as)
		return err
	}
	before := len(b.host.Threads())
	harm := func(d *damaged) {
		t.Helper()
		b.mu.Lock()
		b.damaged = map[string]*damaged{d.name: d}
		b.mu.Unlock()
	}
	harm(&damaged{name: "atlas", err: errors.New("lost")})
	if err := join(""); !errors.Is(err, ErrDamaged) || len(b.host.Threads()) != before {
		t.Errorf("got %v and %d threads, want %v and %d", err, len(b.host.Threads()), ErrDamaged, before)
	}
	harm(&damaged{name: "other", id: ref.ID, err: errors.New("lost")})
	if err := join("new"); !errors.Is(err, ErrDamaged) || len(b.host.Threads()) != before {
		t.Errorf("got %v and %d threads, want %v and %d", err, len(b.host.Threads()), ErrDamaged, before)
	}
	b.mu.Lock()
	b.damaged = map[string]*damaged{}
	b.mu.Unlock()
	if err := join(""); err != nil {
		t.Error(err)
	}
	if err := join("again"); !errors.Is(err, ErrExists) {
		t.Errorf("got %v, want %v", err, ErrExists)
	}
}
