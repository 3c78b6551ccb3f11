package node_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/buckets"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
)

// hashOf returns the state hash of a database of n.
func hashOf(t *testing.T, n *node.Node, name string) string {
	t.Helper()
	i, err := n.DatabaseInfo(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return i.Hash.String()
}

// The owner's only device loses its store, and gets its database back from the relay
// without an invite, to the same state hash, files included; then both go on.
func TestRebuildFromRelay(t *testing.T) {
	w := newTown(t)
	ctx := t.Context()
	a := w.device(w.options)
	if _, err := a.CreateDatabase(ctx, "atlas"); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		w.insert(a, "atlas", bson.D{{Key: "_id", Value: i}})
	}
	bucket, _, err := a.CreateBucket(ctx, "album", "atlas")
	if err != nil {
		t.Fatal(err)
	}
	file := bytes.Repeat([]byte("Weft "), 200_000)
	if _, err := bucket.Push(ctx, fstest.MapFS{"a.txt": {Data: file}}, buckets.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	w.becomes(a, "atlas", "identical")
	want, home := hashOf(t, a, "atlas"), a.Home()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"store", "blobs"} {
		if err := os.RemoveAll(filepath.Join(home, dir)); err != nil {
			t.Fatal(err)
		}
	}

	b := open(t, node.Config{Home: home})
	if _, err := b.Database(ctx, "atlas"); !fault.Is(err, fault.Corrupt) {
		t.Fatalf("a database that the store lost: got %v, want an error of kind corrupt", err)
	}
	if _, err := b.CreateDatabase(ctx, "atlas"); !fault.Is(err, fault.Corrupt) {
		t.Errorf("another of its name: got %v, want an error of kind corrupt", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := node.RepairHome(ctx, node.RepairOptions{Home: home})
	if err != nil || !r.Whole() || len(r.Databases) != 1 || r.Databases[0].Hash != want {
		t.Fatalf("got %+v, %v, want hash %s", r, err, want)
	}
	b = open(t, node.Config{Home: home})
	if got := hashOf(t, b, "atlas"); got != want {
		t.Errorf("got hash %s, want %s", got, want)
	}
	album, err := b.Bucket(ctx, "album")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := album.Cat(ctx, "a.txt", &got, buckets.Range{Length: -1}); err != nil || !bytes.Equal(got.Bytes(), file) {
		t.Errorf("the file: %d bytes, %v", got.Len(), err)
	}
	w.insert(b, "atlas", bson.D{{Key: "_id", Value: "after"}})
	w.becomes(b, "atlas", "identical")
	d, err := b.Check(ctx, node.CheckOptions{})
	if err != nil || !d.Whole() {
		t.Errorf("after the repair: %+v, %v", d, err)
	}
	if err := os.RemoveAll(r.Kept); err != nil || r.Kept == "" {
		t.Error(errors.Join(err, errors.New(r.Kept)))
	}
}

// What of a database cannot be read is rebuilt from its own log, or what is left of
// that and from a member, while the database beside it is served all the time.
func TestRebuildFromLogAndMember(t *testing.T) {
	ctx := t.Context()
	home := filepath.Join(t.TempDir(), "home")
	a, b := open(t, node.Config{Home: home}), open(t, node.Config{})
	for _, name := range []string{"own", "shared", "whole"} {
		d, err := a.CreateDatabase(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 30 {
			if _, err := d.Collection("things").Insert(ctx, document(bson.D{{Key: "_id", Value: i}})); err != nil {
				t.Fatal(err)
			}
		}
	}
	url, err := a.Invite(ctx, "shared", node.InviteOptions{})
	if err == nil {
		_, err = b.Join(ctx, url, "shared")
	}
	if err != nil {
		t.Fatal(err)
	}
	d, err := b.Database(ctx, "shared")
	if err == nil {
		_, err = d.Collection("things").Insert(ctx, document(bson.D{{Key: "_id", Value: "of b"}}))
	}
	if err != nil {
		t.Fatal(err)
	}
	identical(t, b, "shared")
	want := map[string]string{}
	for _, name := range []string{"own", "shared", "whole"} {
		want[name] = hashOf(t, a, name)
	}
	node.Harm(t, a, "own", "documents")
	node.Harm(t, a, "shared", "records")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}

	r, err := node.RepairHome(ctx, node.RepairOptions{Home: home, Wait: patience})
	if err != nil || !r.Whole() || len(r.Databases) != 2 {
		t.Fatalf("got %+v, %v", r, err)
	}
	a = open(t, node.Config{Home: home})
	for name, hash := range want {
		if got := hashOf(t, a, name); got != hash {
			t.Errorf("%s: got hash %s, want %s", name, got, hash)
		}
	}
	connect(t, a, b)
	d, err = a.Database(ctx, "shared")
	if err == nil {
		_, err = d.Collection("things").Insert(ctx, document(bson.D{{Key: "_id", Value: "after"}}))
	}
	if err != nil {
		t.Fatal(err)
	}
	identical(t, a, "shared")
	identical(t, b, "shared")
}
