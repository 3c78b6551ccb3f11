package node

import (
	"path/filepath"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

func openHomeAt(t *testing.T, dir string) *Node {
	t.Helper()
	n, err := Open(t.Context(), Config{Home: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// fill makes a database with documents, one of them refused, and returns it.
func fill(t *testing.T, n *Node, name string, documents int) *db.DB {
	t.Helper()
	d, err := n.CreateDatabase(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range documents {
		doc, err := bson.Marshal(bson.D{{Key: "_id", Value: i}, {Key: "name", Value: strings.Repeat("x", i%50)}})
		if err == nil {
			_, err = d.Collection("things").Insert(t.Context(), doc)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func check(t *testing.T, n *Node) Diagnosis {
	t.Helper()
	d, err := n.Check(t.Context(), CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// edit changes the values of the keys under a prefix that the change picks; nil
// deletes.
func edit(t *testing.T, s store.Store, prefix []byte, change func(i int, value []byte) ([]byte, bool)) {
	t.Helper()
	tx := s.Begin()
	defer tx.Discard()
	snap := s.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Prefix(prefix))
	defer it.Close()
	changed := false
	for i := 0; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			t.Fatal(err)
		}
		if v, ok := change(i, append([]byte(nil), v...)); ok && v == nil {
			err, changed = tx.Delete(append([]byte(nil), it.Key()...)), true
		} else if ok {
			err, changed = tx.Put(append([]byte(nil), it.Key()...), v), true
		}
		if err != nil {
			t.Fatal(err)
		}
		i++
	}
	if !changed {
		t.Fatalf("no key under %q was changed", prefix)
	}
	if err := commitSync(s, tx); err != nil {
		t.Fatal(err)
	}
}

// A whole home is found whole, also after its history was cut; the check is kept.
func TestCheckWhole(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	n := openHomeAt(t, home)
	fill(t, n, "atlas", 50)
	fill(t, n, "cut", 50)
	if c, err := n.Compact(t.Context(), "cut"); err != nil || !c.Cut {
		t.Fatalf("compact: %+v, %v", c, err)
	}
	got := check(t, n)
	if !got.Whole() || len(got.Databases) != 2 || got.Databases[0].Records < 52 || got.Databases[0].Hash == "" {
		t.Fatalf("got %+v", got)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = openHomeAt(t, home)
	if last := n.LastCheck(); last == nil || !last.Ended.Equal(got.Ended) {
		t.Errorf("the check was not kept: %+v", last)
	}
	if got := check(t, n); !got.Whole() {
		t.Errorf("got %+v", got)
	}
}

// Each kind of damage is found, said of its database alone, and ends that the
// database is served.
func TestCheckFindsDamage(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	n := openHomeAt(t, home)
	for _, c := range []struct {
		name, want string
		damage     func(d *database)
	}{
		{"records", "lacks the records 11 to 11", func(d *database) {
			edit(t, n.store, recordsOf(d), func(i int, v []byte) ([]byte, bool) { return nil, i == 10+2 })
		}},
		{"body", "the body is not the one", func(d *database) {
			edit(t, n.store, recordsOf(d), func(i int, v []byte) ([]byte, bool) { v[len(v)-1] ^= 1; return v, i == 10+2 })
		}},
		{"documents", "that of the documents", func(d *database) {
			p := append(foldPrefix(d.number), 'd')
			edit(t, n.store, p, func(i int, v []byte) ([]byte, bool) { v[len(v)-3] ^= 1; return v, i == 20 })
		}},
		{"arrivals", "no arrival number", func(d *database) {
			edit(t, n.store, threadKey(d, 'a'), func(i int, v []byte) ([]byte, bool) { return nil, i == 10 })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fill(t, n, c.name, 30)
			d, err := n.find(c.name)
			if err != nil {
				t.Fatal(err)
			}
			d.rest() // what is in memory is not what is stored
			c.damage(d)
			got := check(t, n)
			found := false
			for _, b := range got.Databases {
				if b.Name == c.name {
					found = strings.Contains(strings.Join(b.Damage, "\n"), c.want)
				}
			}
			if !found {
				t.Errorf("got %+v, want %q", got.Databases, c.want)
			}
			if _, err := n.Database(t.Context(), c.name); !fault.Is(err, fault.Corrupt) {
				t.Errorf("the damaged database: got %v, want an error of kind corrupt", err)
			}
		})
	}
	fill(t, n, "whole", 3) // and the node goes on
	if got := len(n.Damages()); got != 4 {
		t.Errorf("got %d damaged databases, want 4: %+v", got, n.Damages())
	}
}

// threadKey begins the keys of one kind of a database's thread.
func threadKey(d *database, kind byte) []byte {
	for num := range byte(200) {
		key := []byte{'n', 't', 0, 0, 0, num, kind}
		if d.thread.Holds(key) {
			return key
		}
	}
	return nil
}

// recordsOf begins the records of a database: two of its control log, then its data.
func recordsOf(d *database) []byte { return threadKey(d, 'r') }
