package node_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, c node.Config) *node.Node {
	t.Helper()
	if c.Home == "" && !c.Memory {
		c.Home = filepath.Join(t.TempDir(), "home")
	}
	n, err := node.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// What a node was before Close it is after Open, and Close may be called twice.
func TestReopen(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	n := open(t, node.Config{Home: home})
	d, err := n.CreateDatabase(t.Context(), "atlas")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Collection("cities").Insert(t.Context(), document(bson.D{{Key: "_id", Value: 1}})); err != nil {
		t.Fatal(err)
	}
	before, err := n.DatabaseInfo(t.Context(), "atlas")
	if err != nil {
		t.Fatal(err)
	}
	identity, peer := n.Identity(), n.Peer()
	if err := errors.Join(n.Close(), n.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Database(t.Context(), "atlas"); !errors.Is(err, node.ErrClosed) {
		t.Errorf("a closed node: got %v, want ErrClosed", err)
	}

	n = open(t, node.Config{Home: home})
	after, err := n.DatabaseInfo(t.Context(), "atlas")
	if err != nil {
		t.Fatal(err)
	}
	if n.Identity() != identity || n.Peer() != peer || n.Created() {
		t.Error("the node has become another")
	}
	if after.Hash != before.Hash || after.ID != before.ID || after.Documents != 1 {
		t.Errorf("got %+v, want %+v", after, before)
	}
}

// One process has a home at a time.
func TestHomeInUse(t *testing.T) {
	n := open(t, node.Config{Home: filepath.Join(t.TempDir(), "home")})
	home := n.Home()
	_, err := node.Open(t.Context(), node.Config{Home: home})
	if !errors.Is(err, node.ErrHomeInUse) {
		t.Fatalf("got %v, want ErrHomeInUse", err)
	}
	done := make(chan error, 1)
	go func() {
		other, err := node.Open(t.Context(), node.Config{Home: home, LockWait: 30 * time.Second})
		if err == nil {
			err = other.Close()
		}
		done <- err
	}()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("after the first closed: got %v", err)
	}
}

// A home of a newer or an older release is refused by name, untouched.
func TestHomeOfAnotherRelease(t *testing.T) {
	for version, want := range map[string]fault.Kind{"1\n": fault.UnknownVersion, "2\n": fault.UnknownVersion, "3\n": fault.UnknownVersion, "4\n": fault.UnknownVersion, "1000\n": fault.NewerHome} {
		home := t.TempDir()
		if err := os.WriteFile(filepath.Join(home, "VERSION"), []byte(version), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := node.Open(t.Context(), node.Config{Home: home})
		if kind := fault.KindOf(err); kind != want {
			t.Errorf("version %s: got %v of kind %q, want %s", version, err, kind, want)
		}
		if _, err := os.Stat(filepath.Join(home, "identity.key")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("an identity was made: %v", err)
		}
	}
}

// What a home holds, only its owner can read; and a sealed home needs its
// passphrase.
func TestHomeIsPrivate(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	n := open(t, node.Config{Home: home, Surfaces: []node.Surface{{Name: node.SurfaceAPI, Addr: "127.0.0.1:0", Handler: func(*node.Node) http.Handler { return http.NotFoundHandler() }}}, Passphrase: []byte("swordfish")})
	err := filepath.WalkDir(home, func(path string, d os.DirEntry, err error) error {
		if err != nil || filepath.Dir(path) != home {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 && !d.IsDir() {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for pass, want := range map[string]fault.Kind{"": fault.PassphraseNeeded, "wrong": fault.PassphraseWrong} {
		_, err := node.Open(t.Context(), node.Config{Home: home, Passphrase: []byte(pass)})
		if fault.KindOf(err) != want {
			t.Errorf("passphrase %q: got %v, want %s", pass, err, want)
		}
	}
}

// Names that would escape or confuse are refused.
func TestDatabaseNames(t *testing.T) {
	n := open(t, node.Config{})
	for _, name := range []string{"", "@mailbox", ".hidden", "-x", "a b", "a/b", "ä", strings.Repeat("a", 64), "a\x00"} {
		if _, err := n.CreateDatabase(t.Context(), name); !errors.Is(err, node.ErrName) {
			t.Errorf("%q: got %v, want ErrName", name, err)
		}
	}
	for _, name := range []string{"a", "Atlas-2.x_y", strings.Repeat("a", 63)} {
		if _, err := n.CreateDatabase(t.Context(), name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func document(d bson.D) bson.Raw {
	b, err := bson.Marshal(d)
	check(err)
	return b
}
