package node_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weftdb/weft/node"
)

// flipRelayKey flips bits of the key of a relay: each is told with the file's name.
func flipRelayKey(t *testing.T, home, path string) {
	t.Helper()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(whole); i += 5 {
		b := bytes.Clone(whole)
		b[i] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := node.Open(t.Context(), node.Config{Home: home})
		if err == nil {
			t.Errorf("byte %d of %q is another: the home opens, %v", i, whole, n.Close())
		} else if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "weft relay add") && !strings.Contains(err.Error(), "version") {
			t.Errorf("byte %d of the key is another: got %v, want the file and what to do", i, err)
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A small file of the home that is not what a node wrote is named, with what to do, or is
// made again. None of them ends in another file's error, or in silence.
func TestSmallFiles(t *testing.T) {
	w := newTown(t)
	d := w.device(w.options)
	home, relayKey := d.Home(), filepath.Join("relays", w.relay.Peer().String()+".key")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	const again = "" // it is made again
	for _, f := range []struct{ name, empty, half, folder string }{
		{"VERSION", "restore it from a backup", again, "restore it from a backup"}, // of "2\n" half is "2"
		{"LOCK", again, again, "LOCK"},
		{"identity.key", "restore it from a backup", "restore it from a backup", "restore it from a backup"},
		{"device.key", "restore it from a backup", "restore it from a backup", "restore it from a backup"},
		{"device.cert", "remove it", "remove it", "remove it"},
		{"api.token", "remove it", "remove it", "remove it"},
		{"databases.note", again, again, "remove it"},
		{"check.json", again, again, again},
		{"daemon.json", again, again, "remove it"},
		{relayKey, "remove it", "remove it", "remove it"},
	} {
		path := filepath.Join(home, f.name)
		whole, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		write := func(b []byte) func() error { return func() error { return os.WriteFile(path, b, 0o600) } }
		cases := []struct {
			how, want string
			spoil     func() error
		}{
			{"empty", f.empty, write(nil)},
			{"half", f.half, write(whole[:len(whole)/2])},
			{"a folder", f.folder, func() error { return os.MkdirAll(filepath.Join(path, "x"), 0o700) }},
		}
		if os.Geteuid() != 0 && f.name != "check.json" && f.name != "daemon.json" { // root reads everything
			cases = append(cases, struct {
				how, want string
				spoil     func() error
			}{"unreadable", f.name, func() error { return errors.Join(write(whole)(), os.Chmod(path, 0)) }})
		}
		for _, c := range cases {
			if err := errors.Join(os.RemoveAll(path), c.spoil()); err != nil {
				t.Fatal(err)
			}
			n, err := node.Open(t.Context(), node.Config{Home: home})
			if err == nil {
				err = n.Close()
				if c.want != again || err != nil {
					t.Errorf("%s is %s: the home opens, %v", f.name, c.how, err)
				}
			} else if c.want == again || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s is %s: got %v, want its path and %q", f.name, c.how, err, c.want)
			}
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if whole != nil {
				if err := os.WriteFile(path, whole, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	flipRelayKey(t, home, filepath.Join(home, relayKey))
	open(t, node.Config{Home: home})
	for _, text := range []string{"", "{", "7"} {
		path := filepath.Join(home, "daemon.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := node.ReadDaemon(home); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("daemon.json is %q: got %v", text, err)
		}
	}
}
