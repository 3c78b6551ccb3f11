package node_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/weftdb/weft/node"
)

// A home whose key files are gone is damaged: a new identity in their place would be
// somebody else, who cannot open what is there.
func TestMissingKeyFile(t *testing.T) {
	for _, name := range []string{"identity.key", "device.key"} {
		home := filepath.Join(t.TempDir(), "home")
		if err := open(t, node.Config{Home: home}).Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(home, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := node.Open(t.Context(), node.Config{Home: home}); !errors.Is(err, node.ErrDamaged) {
			t.Errorf("%s: got %v, want %v", name, err, node.ErrDamaged)
		}
		if _, err := os.Stat(filepath.Join(home, name)); err == nil {
			t.Errorf("%s was made anew", name)
		}
	}
}
