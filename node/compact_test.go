package node_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/node"
)

func update(t testing.TB, n *node.Node, name string, filter, change bson.D) {
	t.Helper()
	d, err := n.Database(t.Context(), name)
	if err == nil {
		_, err = d.Collection("things").Update(t.Context(), document(filter), document(change), db.UpdateOptions{Many: true})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func info(t testing.TB, n *node.Node, name string) node.DatabaseInfo {
	t.Helper()
	i, err := n.DatabaseInfo(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func compact(t testing.TB, n *node.Node, name string) node.Compaction {
	t.Helper()
	c, err := n.Compact(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// waitHash waits until n's database is in the state of hash.
func waitHash(t testing.TB, n *node.Node, name string, want node.DatabaseInfo) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		s, changed, err := n.DatabaseStatus(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if s.Hash == want.Hash {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%s is in state %s, want %s: %+v", name, s.Hash, want.Hash, s.Peers)
		}
	}
}

// sameState waits until two nodes have a database in one state, and returns it.
func sameState(t testing.TB, name string, a, b *node.Node) node.DatabaseInfo {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		sa, changedA, err := a.DatabaseStatus(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		sb, changedB, err := b.DatabaseStatus(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if sa.Hash == sb.Hash {
			return info(t, a, name)
		}
		select {
		case <-changedA:
		case <-changedB:
		case <-ctx.Done():
			t.Fatalf("%s is in states %s and %s: %+v, %+v", name, sa.Hash, sb.Hash, sa.Peers, sb.Peers)
		}
	}
}

// A compacted database has the documents and nothing of their history, goes on,
// and can be compacted again, also after it was opened again.
func TestCompact(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	n := open(t, node.Config{Home: home})
	d, err := n.CreateDatabase(t.Context(), "atlas")
	if err != nil {
		t.Fatal(err)
	}
	docs := make([]bson.Raw, 50)
	for i := range docs {
		docs[i] = document(bson.D{{Key: "_id", Value: i}, {Key: "n", Value: 0}})
	}
	if _, err := d.Collection("things").Insert(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	inc := bson.D{{Key: "$inc", Value: bson.D{{Key: "n", Value: 1}}}}
	for round := range 3 {
		for range 20 {
			update(t, n, "atlas", bson.D{}, inc)
		}
		before := info(t, n, "atlas")
		c := compact(t, n, "atlas")
		if !c.Cut || c.Records < 20 {
			t.Fatalf("round %d: %+v", round, c)
		}
		after := info(t, n, "atlas")
		if after.Hash != before.Hash || after.Documents != 50 || after.Records > 20 || after.Bytes*2 > before.Bytes {
			t.Fatalf("round %d: before %+v, after %+v", round, before, after)
		}
		if c := compact(t, n, "atlas"); c.Cut || c.Records != 0 || c.Reason == "" {
			t.Fatalf("round %d, again: %+v", round, c)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		n = open(t, node.Config{Home: home})
		if again := info(t, n, "atlas"); again.Hash != after.Hash {
			t.Fatalf("round %d: hash %s after reopening, want %s", round, again.Hash, after.Hash)
		}
	}
	d, err = n.Database(t.Context(), "atlas")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.Collection("things").Count(t.Context(), document(bson.D{{Key: "n", Value: 60}})); err != nil || got != 50 {
		t.Fatalf("%d documents have all updates, want 50: %v", got, err)
	}
}

// A device that joins after the cut gets the documents from a relay, with the
// writer away; one that had the history and wrote meanwhile keeps its writes, and
// all end in the same state.
func TestCompactByRelay(t *testing.T) {
	w := newTown(t)
	ctx := t.Context()
	homeA, homeB := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	a, b := w.deviceIn(homeA, w.options), w.deviceIn(homeB, w.options)
	if _, err := a.CreateDatabase(ctx, "atlas"); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		w.insert(a, "atlas", bson.D{{Key: "_id", Value: i}, {Key: "n", Value: 0}})
	}
	inc := bson.D{{Key: "$inc", Value: bson.D{{Key: "n", Value: 1}}}}
	for range 10 {
		update(t, a, "atlas", bson.D{}, inc)
	}
	url, err := a.Invite(ctx, "atlas", node.InviteOptions{Uses: 5})
	if err != nil {
		t.Fatal(err)
	}
	w.becomes(a, "atlas", "identical")
	if _, err := b.Join(ctx, url, "atlas"); err != nil {
		t.Fatal(err)
	}
	w.becomes(b, "atlas", "identical")
	update(t, b, "atlas", bson.D{{Key: "_id", Value: 1}}, inc)
	w.becomes(b, "atlas", "identical")
	waitHash(t, a, "atlas", info(t, b, "atlas"))

	if err := errors.Join(a.Close(), b.RemoveRelay(ctx, w.relay.Peer().String())); err != nil {
		t.Fatal(err)
	}
	update(t, b, "atlas", bson.D{{Key: "_id", Value: 2}}, inc) // nobody knows of it
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	a = open(t, node.Config{Home: homeA})
	for range 10 {
		update(t, a, "atlas", bson.D{}, inc)
	}
	before := info(t, a, "atlas")
	if c := compact(t, a, "atlas"); !c.Cut || c.Records < 20 {
		t.Fatalf("%+v", c)
	}
	if after := info(t, a, "atlas"); after.Hash != before.Hash {
		t.Fatalf("state %s after the cut, %s before", after.Hash, before.Hash)
	}
	w.becomes(a, "atlas", "identical")
	cut := info(t, a, "atlas")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}

	c := w.device(w.options)
	if _, err := c.Join(ctx, url, "atlas"); err != nil {
		t.Fatal(err)
	}
	w.becomes(c, "atlas", "identical")
	waitHash(t, c, "atlas", cut)
	if got := info(t, c, "atlas").Records; got > before.Records/2 {
		t.Errorf("the joiner got %d records, of %d before the cut", got, before.Records)
	}

	b = w.deviceIn(homeB, w.options)
	w.becomes(b, "atlas", "identical")
	w.becomes(c, "atlas", "identical")
	want := sameState(t, "atlas", b, c) // each may have been identical before it heard of all
	d, err := c.Database(ctx, "atlas")
	if err != nil {
		t.Fatal(err)
	}
	for id, n := range map[int]int{0: 20, 1: 21, 2: 21} {
		doc, err := d.Collection("things").Get(ctx, bson.RawValue{Type: bson.TypeInt32, Value: []byte{byte(id), 0, 0, 0}})
		if err != nil || doc.Raw.Lookup("n").AsInt64() != int64(n) {
			t.Errorf("document %d: %v %v, want n %d", id, doc, err, n)
		}
	}
	if got := compact(t, b, "atlas"); got.Cut || got.Records != 0 || got.Reason == "" || got.Kept.Before(time.Now().Add(29*24*time.Hour)) {
		t.Errorf("a device that may not cut, and has to keep the history: %+v", got)
	}
	if i := info(t, b, "atlas"); i.Hash != want.Hash {
		t.Errorf("state %s after pruning, want %s", i.Hash, want.Hash)
	}
}
