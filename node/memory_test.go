package node_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/buckets"
	"github.com/weftdb/weft/node"
)

// A node in memory does what another does, and leaves nothing.
func TestMemory(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("TMP", temp)
	ctx := t.Context()
	n, err := node.Open(ctx, node.Config{Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	d, err := n.CreateDatabase(ctx, "atlas")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Collection("cities").Insert(ctx, bson.M{"_id": 1}); err != nil {
		t.Fatal(err)
	}
	if held, err := filepath.Glob(filepath.Join(temp, "*", "store")); err != nil || len(held) != 0 {
		t.Errorf("the store is on disk: %q, %v", held, err)
	}
	album, _, err := n.CreateBucket(ctx, "album", "")
	if err != nil {
		t.Fatal(err)
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	if _, err := album.Push(ctx, fstest.MapFS{"large": {Data: large}}, buckets.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := album.Cat(ctx, "large", &got, buckets.Whole); err != nil || !bytes.Equal(got.Bytes(), large) {
		t.Errorf("got %d bytes, %v", got.Len(), err)
	}
	if s, err := n.Status(); err != nil || s.Databases != 2 || s.Engine == "" {
		t.Errorf("got %+v, %v", s, err)
	}
	if c, err := n.Compact(ctx, "atlas"); err != nil {
		t.Errorf("got %+v, %v", c, err)
	}
	if c, err := n.Check(ctx, node.CheckOptions{}); err != nil || !c.Undamaged() {
		t.Errorf("got %+v, %v", c, err)
	}
	var backup bytes.Buffer
	if _, err := n.Backup(ctx, &backup); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}

	// Its backup becomes a home on disk.
	home := filepath.Join(t.TempDir(), "home")
	if _, err := node.Restore(ctx, &backup, node.RestoreOptions{Home: home}); err != nil {
		t.Fatal(err)
	}
	n = open(t, node.Config{Home: home})
	if d, err = n.Database(ctx, "atlas"); err != nil {
		t.Fatal(err)
	}
	if count, err := d.Collection("cities").Count(ctx, nil); err != nil || count != 1 {
		t.Errorf("got %d, %v", count, err)
	}
}

// A node in memory has no home to choose; what is refused leaves nothing either.
func TestMemoryRefusesAHome(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("TMP", temp)
	for _, c := range []node.Config{
		{Memory: true, Home: filepath.Join(t.TempDir(), "home")},
		{Memory: true, Engine: "badger"},
		{Memory: true, Listen: []string{"nowhere"}},
	} {
		if n, err := node.Open(t.Context(), c); !errors.Is(err, node.ErrInvalid) {
			t.Errorf("%+v: got %v, %v", c, n, err)
		}
		if c.Home != "" {
			if _, err := os.Stat(c.Home); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the home was touched: %v", err)
			}
		}
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// WaitSynced waits for every relay and for each member that is connected; when its context
// ends, it says for whom it waited.
func TestWaitSynced(t *testing.T) {
	w := newTown(t)
	ctx := t.Context()
	alone := open(t, node.Config{Memory: true})
	if _, err := alone.CreateDatabase(ctx, "atlas"); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := alone.WaitSynced(ended, "atlas"); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "no relay and no member is connected") {
		t.Errorf("alone: got %v", err)
	}
	if err := alone.WaitSynced(ctx, "nothing"); !errors.Is(err, node.ErrNotFound) {
		t.Errorf("no such database: got %v", err)
	}

	a := open(t, node.Config{Memory: true})
	if _, err := a.AddRelay(ctx, w.addr, w.options); err != nil {
		t.Fatal(err)
	}
	d, err := a.CreateDatabase(ctx, "atlas")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Collection("cities").Insert(ctx, bson.M{"_id": 1}); err != nil {
		t.Fatal(err)
	}
	if err := a.WaitSynced(ctx, "atlas"); err != nil {
		t.Fatal(err)
	}
	url, err := a.Invite(ctx, "atlas", node.InviteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.WaitSynced(ctx, "atlas"); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b := open(t, node.Config{Memory: true})
	if _, err := b.AddRelay(ctx, w.addr, w.options); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Join(ctx, url, ""); err != nil {
		t.Fatal(err)
	}
	if err := b.WaitSynced(ctx, "atlas"); err != nil {
		t.Fatal(err)
	}
	if d, err = b.Database(ctx, "atlas"); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Collection("cities").Count(ctx, nil); err != nil || n != 1 {
		t.Errorf("what is synced cannot be read: %d, %v", n, err)
	}

	// A relay that is gone is waited for, also while nothing else is missing.
	if err := w.relay.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Collection("cities").Insert(ctx, bson.M{"_id": 2}); err != nil {
		t.Fatal(err)
	}
	if err := b.WaitSynced(ended, "atlas"); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "relay ") {
		t.Errorf("without the relay: got %v", err)
	}
}

// Addresses are text; one that is none is named.
func TestAddressesAreText(t *testing.T) {
	n := open(t, node.Config{Memory: true, Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
	other := open(t, node.Config{Memory: true})
	if len(n.Addrs()) != 1 || !strings.HasPrefix(n.Addrs()[0], "/ip4/127.0.0.1/tcp/") {
		t.Errorf("listens at %q", n.Addrs())
	}
	if err := other.Connect(t.Context(), n.Addrs()[0]); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "localhost:4600", "/ip4/127.0.0.1/tcp/4600"} {
		_, err := other.AddRelay(t.Context(), bad, node.RelayOptions{})
		for _, err := range []error{err, other.Connect(t.Context(), bad)} {
			if !errors.Is(err, node.ErrInvalid) || !strings.Contains(err.Error(), "want a multiaddr") {
				t.Errorf("%q: got %v", bad, err)
			}
		}
	}
}
