package node_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
)

// copyHome copies a home as a kill would leave it, modes included.
func copyHome(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "home")
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, name)
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// filesOf returns the bytes of every file of a store but those that hold nothing.
func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

// spoilEnd damages what a store's log got between two copies of a home, the second of
// which it changes.
func spoilEnd(t *testing.T, before, after string) {
	t.Helper()
	was, is := filesOf(t, filepath.Join(before, "store")), filesOf(t, filepath.Join(after, "store"))
	for name, now := range is {
		if ext := filepath.Ext(name); ext != ".log" && ext != ".vlog" {
			continue
		}
		then, b := was[name], []byte(now)
		for i := range b {
			if i < len(then) && then[i] == b[i] {
				continue
			}
			b[i+20] ^= 16
			if err := os.WriteFile(filepath.Join(after, "store", name), b, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("no log has changed")
}

// nobody is the address of a relay that does not answer.
func nobody(t *testing.T) string {
	t.Helper()
	n := open(t, node.Config{})
	a := n.Addrs()[0]
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	return a
}

// The store has lost records that were acknowledged after the note was last written:
// nothing says of which database. Those with a relay get theirs back; the one without is
// never called whole. The damaged store is kept to the byte.
func TestRepairLostEnd(t *testing.T) {
	for _, engine := range node.Engines() {
		t.Run(engine, func(t *testing.T) {
			w := newTown(t)
			ctx := t.Context()
			live := filepath.Join(t.TempDir(), "live")
			a := open(t, node.Config{Home: live, Engine: engine})
			for _, name := range []string{"alone", "kept"} {
				if _, err := a.CreateDatabase(ctx, name); err != nil {
					t.Fatal(err)
				}
			}
			o := w.options
			o.Databases = []string{"kept"}
			if _, err := a.AddRelay(ctx, w.addr, o); err != nil {
				t.Fatal(err)
			}
			w.insert(a, "alone", bson.D{{Key: "_id", Value: 0}})
			w.insert(a, "kept", bson.D{{Key: "_id", Value: 0}})
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			a = open(t, node.Config{Home: live})
			w.insert(a, "kept", bson.D{{Key: "_id", Value: 1}})
			w.becomes(a, "kept", "identical")
			before := copyHome(t, live)
			w.insert(a, "alone", bson.D{{Key: "_id", Value: 1}})
			for i := range 5 {
				w.insert(a, "kept", bson.D{{Key: "_id", Value: 2 + i}})
			}
			w.becomes(a, "kept", "identical")
			want := hashOf(t, a, "kept")
			home := copyHome(t, live)
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			spoilEnd(t, before, home)

			bytesWere := filesOf(t, filepath.Join(home, "store"))
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			var told []string
			r, err := node.RepairHome(ctx, node.RepairOptions{Home: home, Tell: func(s string) { told = append(told, s) }})
			if err != nil || r.Whole() || len(r.Databases) != 2 {
				t.Fatalf("got %+v, %v, want two databases that are not both whole", r, err)
			}
			for _, b := range r.Databases {
				if uncertain := b.Name == "alone"; !b.Served || b.Uncertain != uncertain || !uncertain && (b.Hash != want || len(b.Lost) > 0) {
					t.Errorf("got %+v, want alone to be uncertain, kept to have hash %s", b, want)
				}
			}
			if len(told) != 1 || !strings.Contains(told[0], "kept waits") || !strings.Contains(told[0], w.addr) {
				t.Errorf("told %q, want what is waited for", told)
			}
			for name, b := range filesOf(t, r.Kept) {
				if name != "RESERVE" && b != bytesWere[name] {
					t.Errorf("%s of the damaged store has changed", name)
				}
			}
			if r, err = node.RepairHome(ctx, node.RepairOptions{Home: home}); err != nil || !r.Whole() || r.Kept != "" {
				t.Errorf("again: got %+v, %v, want nothing to do", r, err)
			}
			wantLost(t, home, "alone", "may have lost its last records")
		})
	}
}

// wantLost wants the lists, the status and a check of a home to say of a database what
// it has lost; "" is nothing.
func wantLost(t *testing.T, home, name, want string) {
	t.Helper()
	n := open(t, node.Config{Home: home})
	d, err := n.Check(t.Context(), node.CheckOptions{})
	if err != nil || !d.Whole() {
		t.Errorf("check: %+v, %v", d, err)
	}
	s, err := n.Status()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, b := range d.Databases {
		if b.Name == name {
			got["check"] = b.Lost
		}
	}
	for _, b := range n.Databases() {
		if b.Name == name {
			got["list"] = b.Lost
		}
	}
	got["status"] = ""
	for _, l := range s.Lost {
		got["status"] += l.Reason
	}
	for where, text := range got {
		if want == "" && text != "" || !strings.Contains(text, want) {
			t.Errorf("%s: got %q, want %q", where, text, want)
		}
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

// What is taken as it is is counted, and is said later until it comes back.
func TestRepairAsIs(t *testing.T) {
	for _, later := range []bool{false, true} {
		t.Run(fmt.Sprintf("later=%v", later), func(t *testing.T) {
			w := newTown(t)
			ctx := t.Context()
			home := filepath.Join(t.TempDir(), "home")
			a := open(t, node.Config{Home: home})
			if _, err := a.CreateDatabase(ctx, "atlas"); err != nil {
				t.Fatal(err)
			}
			if _, err := a.AddRelay(ctx, w.addr, w.options); err != nil {
				t.Fatal(err)
			}
			for i := range 30 {
				w.insert(a, "atlas", bson.D{{Key: "_id", Value: i}})
			}
			w.becomes(a, "atlas", "identical")
			want := hashOf(t, a, "atlas")
			node.Harm(t, a, "atlas", "records")
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			if later {
				if _, err := w.relay.RevokeKey(w.key.Public); err != nil { // else it may be rebuilt before it is looked at
					t.Fatal(err)
				}
				r, err := node.RepairHome(ctx, node.RepairOptions{Home: home, Wait: 1})
				if err != nil || r.Whole() || len(r.Databases) != 1 || r.Databases[0].Served {
					t.Fatalf("got %+v, %v, want a database that waits", r, err)
				}
				n := open(t, node.Config{Home: home})
				s, err := n.Status()
				if err != nil || len(s.Damage) != 1 || s.Damage[0].Database != "atlas" || !strings.Contains(s.Damage[0].Reason, "rebuilt") {
					t.Errorf("status: got %+v, %v, want the database that waits", s.Damage, err)
				}
				if err := n.Close(); err != nil {
					t.Fatal(err)
				}
			}
			r, err := node.RepairHome(ctx, node.RepairOptions{Home: home, AsIs: true})
			if err != nil || r.Whole() || len(r.Databases) != 1 {
				t.Fatalf("got %+v, %v, want a database that has lost something", r, err)
			}
			if b := r.Databases[0]; !b.Served || !b.AsIs || b.Gone != 20 || b.Noted < 30 || b.Hash == "" || b.Hash == want {
				t.Errorf("got %+v, want 20 records abandoned", b)
			}
			wantLost(t, home, "atlas", "20 records abandoned")
			n := open(t, node.Config{Home: home})
			if later {
				key, secret, err := w.relay.CreateKey(node.KeyOptions{Kind: keys.KindUser})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := n.AddRelay(ctx, w.addr, node.RelayOptions{Key: key.Text(), Secret: secret.Text()}); err != nil {
					t.Fatal(err)
				}
			}
			w.becomes(n, "atlas", "identical")
			if got := hashOf(t, n, "atlas"); got != want {
				t.Errorf("with the relay: got hash %s, want %s", got, want)
			}
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			wantLost(t, home, "atlas", "")
		})
	}
}

// A database whose log is all there waits for nobody, nor does one for which a relay of
// another database is all that there is.
func TestRepairWaitsForNobody(t *testing.T) {
	for _, c := range []struct {
		what   string
		relay  []string
		served bool
		lost   bool
	}{
		{"documents", nil, true, false},
		{"documents", []string{"other"}, true, false},
		{"records", []string{"other"}, true, true},
		{"records", []string{"own"}, false, false},
	} {
		t.Run(fmt.Sprint(c.what, c.relay), func(t *testing.T) {
			ctx := t.Context()
			home := filepath.Join(t.TempDir(), "home")
			n := open(t, node.Config{Home: home})
			for _, name := range []string{"own", "other"} {
				d, err := n.CreateDatabase(ctx, name)
				for i := 0; i < 30 && err == nil; i++ {
					_, err = d.Collection("things").Insert(ctx, document(bson.D{{Key: "_id", Value: i}}))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if _, err := n.AddRelay(ctx, nobody(t), node.RelayOptions{Databases: c.relay}); err != nil {
				t.Fatal(err)
			}
			want := hashOf(t, n, "own")
			node.Harm(t, n, "own", c.what)
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			o := node.RepairOptions{Home: home, Wait: time.Hour}
			if !c.served {
				o.Wait = time.Millisecond
			}
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			r, err := node.RepairHome(ctx, o)
			if err != nil || len(r.Databases) != 1 {
				t.Fatalf("got %+v, %v", r, err)
			}
			b := r.Databases[0]
			if b.Name != "own" || b.Served != c.served || (len(b.Lost) > 0) != c.lost || c.served && (b.Hash == want) == c.lost {
				t.Errorf("got %+v, want served %v, lost %v", b, c.served, c.lost)
			}
		})
	}
}

// A store that cannot be opened, after a clean end, is known to have lost nothing.
func TestRepairWholeAfterCleanEnd(t *testing.T) {
	h := makeHome(t, "pebble", 100)
	dir := h.clone(t)
	names, err := filepath.Glob(filepath.Join(dir, "store", "MANIFEST-*"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(name, append(bytes.Clone(b[:12]), b[13:]...), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := node.RepairHome(t.Context(), node.RepairOptions{Home: dir})
	if err != nil || !r.Whole() || len(r.Databases) > 0 || r.Kept == "" {
		t.Errorf("got %+v, %v, want all of it back", r, err)
	}
	if got := h.honest(t, dir); got > 0 {
		t.Errorf("%d databases are damaged", got)
	}
}
