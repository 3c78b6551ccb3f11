package node

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/fault"
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

func checked(t *testing.T, n *Node) Diagnosis {
	t.Helper()
	d, err := n.Check(t.Context(), CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
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
	got := checked(t, n)
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
	if got := checked(t, n); !got.Whole() {
		t.Errorf("got %+v", got)
	}
}

var aHash = regexp.MustCompile(`\b[0-9a-f]{64}\b`)

// Each kind of damage is found, said of its database alone, and ends that the
// database is served.
func TestCheckFindsDamage(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	n := openHomeAt(t, home)
	for _, c := range []struct{ name, want string }{
		{"records", "lacks the records 11 to 11"},
		{"body", "the body is not the one"},
		{"documents", "the state hash is HASH, that of the documents HASH"},
		{"arrivals", "no arrival number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fill(t, n, c.name, 30)
			Harm(t, n, c.name, c.name)
			got := checked(t, n)
			found := false
			for _, b := range got.Databases {
				if b.Name == c.name {
					found = strings.Contains(aHash.ReplaceAllString(strings.Join(b.Damage, "\n"), "HASH"), c.want) && b.Hash == ""
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

// Damage is found in the background, and taken out of service, without a reader.
func TestScrub(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	n := openHomeAt(t, home)
	fill(t, n, "atlas", 30)
	Harm(t, n, "atlas", "body")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n, err := Open(t.Context(), Config{Home: home, ScrubEvery: time.Millisecond, ScrubRate: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	until(t, func() bool { return n.LastCheck() != nil && len(n.Damages()) > 0 })
	if last := n.LastCheck(); last.Findings() == 0 && n.Damages()[0].Database != "atlas" {
		t.Errorf("got %+v, %+v", last, n.Damages())
	}
}

// A backup of a damaged home is none.
func TestBackupOfDamage(t *testing.T) {
	for _, what := range []string{"documents", "records"} {
		n := openHomeAt(t, filepath.Join(t.TempDir(), "home"))
		fill(t, n, "whole", 3)
		fill(t, n, "atlas", 30)
		var file bytes.Buffer
		if m, err := n.Backup(t.Context(), &file); err != nil {
			t.Fatal(err)
		} else if got, err := VerifyBackup(t.Context(), bytes.NewReader(file.Bytes())); err != nil || got.Store != m.Store {
			t.Errorf("read back: %+v, %v", got, err)
		}
		for _, at := range []int{file.Len() / 2, file.Len() - 5} {
			bad := bytes.Clone(file.Bytes())
			bad[at] ^= 1
			if _, err := VerifyBackup(t.Context(), bytes.NewReader(bad)); !fault.Is(err, fault.BadBackup) {
				t.Errorf("a flip at %d of %d: got %v, want an error of kind bad_backup", at, file.Len(), err)
			}
		}
		Harm(t, n, "atlas", what)
		if what == "records" {
			checked(t, n) // the log is not read by a backup as such; a check is
		}
		if _, err := n.Backup(t.Context(), io.Discard); !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), "atlas") {
			t.Errorf("%s: got %v, want an error of kind corrupt that names the database", what, err)
		}
	}
}

// until waits for something that the node does by itself.
func until(t *testing.T, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatal("it did not come to be")
		case <-again.C:
		}
	}
}
