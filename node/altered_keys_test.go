package node_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/weftdb/weft/node"
)

// A key file that was altered, and still is one, makes no other identity or device: the
// certificate tells. With the right file back all is as before.
func TestAlteredKeyFiles(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	n := open(t, node.Config{Home: home})
	identity, peer := n.Identity(), n.Peer()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"identity.key", "device.key"} {
		file := filepath.Join(home, name)
		was, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(was, []byte(`"secret":"`)) + len(`"secret":"`)
		end := at + bytes.IndexByte(was[at:], '"') - 3 // the last may have bits that are not used
		opened := true
		for i := at; i < end; i += 7 {
			altered := bytes.Clone(was)
			if altered[i] = 'A'; was[i] == 'A' {
				altered[i] = 'B'
			}
			if err := os.WriteFile(file, altered, 0o600); err != nil {
				t.Fatal(err)
			}
			n, err := node.Open(t.Context(), node.Config{Home: home})
			if err != nil {
				opened = false
				continue
			}
			// Some bits of an X25519 key are of no account (RFC 7748, section 5): it is the same key.
			if n.Identity() != identity || n.Peer() != peer {
				t.Errorf("%s with another byte %d opened as %s, %s", name, i, n.Identity(), n.Peer())
			}
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if opened {
			t.Errorf("%s: whatever was altered, it opened", name)
		}
		if err := os.WriteFile(file, was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n = open(t, node.Config{Home: home})
	if n.Identity() != identity || n.Peer() != peer {
		t.Errorf("got %s, %s, want %s, %s", n.Identity(), n.Peer(), identity, peer)
	}
}
