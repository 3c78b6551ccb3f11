package node_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/internal/homenote"
)

// A repair and the check after it agree on a home that has the note of another one: it says
// nothing of this home. One that does not say whose it is, as of before, is told as lost,
// once.
func TestNoteOfAnotherHome(t *testing.T) {
	ctx := t.Context()
	foreign := filepath.Join(t.TempDir(), "foreign")
	b := open(t, node.Config{Home: foreign})
	for _, name := range []string{"mine", "other"} {
		if _, err := b.CreateDatabase(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	note := filepath.Join(foreign, "databases.note")
	unsigned := filepath.Join(t.TempDir(), "databases.note")
	from, _, err := homenote.Open(note, device(b))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, _, err := homenote.Open(unsigned, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	for _, d := range from.All() {
		if err := to.Keep(d.Database); err != nil {
			t.Fatal(err)
		}
	}
	if len(to.All()) != 2 {
		t.Fatalf("got %+v", to.All())
	}

	for _, c := range []struct {
		note string
		lost int
	}{{note, 0}, {unsigned, 2}} {
		home := filepath.Join(t.TempDir(), "home")
		a := open(t, node.Config{Home: home})
		if _, err := a.CreateDatabase(ctx, "mine"); err != nil {
			t.Fatal(err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(c.note)
		if err == nil {
			err = os.WriteFile(filepath.Join(home, "databases.note"), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		r := repair(t, node.RepairOptions{Home: home})
		if r.Whole() != (c.lost == 0) || len(r.Databases) != c.lost || r.Found.Whole() != (c.lost == 0) {
			t.Fatalf("got %+v", r)
		}
		for _, d := range r.Databases {
			if len(d.Lost) != 1 || !strings.Contains(d.Lost[0], "another device's key") {
				t.Errorf("got %+v", d)
			}
		}
		a = open(t, node.Config{Home: home})
		if d := diagnose(t, a, node.CheckOptions{}); !d.Whole() || len(d.Databases) != 1 || d.Databases[0].Name != "mine" {
			t.Errorf("after the repair: %+v", d)
		}
	}
}

func device(n *node.Node) []byte {
	d := n.Device()
	return d[:]
}
