package node_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/node"
)

// becomesLoaded waits until as many databases are loaded, or fewer.
func becomesLoaded(t *testing.T, n *node.Node, most int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for n.Loaded() > most {
		select {
		case <-look.C:
		case <-ctx.Done():
			t.Fatalf("%d databases are loaded, want at most %d", n.Loaded(), most)
		}
	}
}

// Many databases: few are loaded, a handle outlives that its database is not,
// and a node that opens loads none.
func TestManyDatabases(t *testing.T) { manyDatabases(t, 200) }

func manyDatabases(t *testing.T, many int) {
	const most = 8
	ctx := t.Context()
	home := filepath.Join(t.TempDir(), "home")
	n := open(t, node.Config{Home: home, MaxLoaded: most})
	handles := make([]*db.DB, many)
	for i := range handles {
		var err error
		if handles[i], err = n.CreateDatabase(ctx, fmt.Sprintf("db-%03d", i)); err != nil {
			t.Fatal(err)
		}
		if _, err := handles[i].Collection("things").Insert(ctx, document(bson.D{{Key: "_id", Value: i}})); err != nil {
			t.Fatal(err)
		}
	}
	becomesLoaded(t, n, most)
	for i, h := range handles {
		if c, err := h.Collection("things").Count(ctx, nil); c != 1 || err != nil {
			t.Fatalf("database %d: %d documents, %v", i, c, err)
		}
	}
	becomesLoaded(t, n, most)

	// A watch, a cursor and a transaction keep theirs loaded.
	w, err := handles[0].Watch(ctx, db.WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cur, err := handles[1].Collection("things").Find(ctx, nil, db.FindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	err = handles[2].Transaction(ctx, db.TxOptions{}, func(*db.Tx) error {
		for _, h := range handles[3:] {
			if _, err := h.Collection("things").Count(ctx, nil); err != nil {
				return err
			}
		}
		becomesLoaded(t, n, most)
		for i := range 3 {
			if asleep, err := node.Suspended(n, fmt.Sprintf("db-%03d", i)); asleep || err != nil {
				t.Errorf("database %d was closed in use", i)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !cur.Next() || cur.Err() != nil {
		t.Errorf("the cursor ended: %v", cur.Err())
	}
	cur.Close()
	w.Close()

	want, err := n.DatabaseInfo(ctx, "db-007")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = open(t, node.Config{Home: home, MaxLoaded: most, Idle: time.Millisecond})
	if got := n.Loaded(); got != 0 || len(n.Databases()) != many {
		t.Errorf("after open: %d of %d databases are loaded", got, len(n.Databases()))
	}
	if got, err := n.DatabaseInfo(ctx, "db-007"); err != nil || got.Hash != want.Hash || got.Documents != 1 {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	becomesLoaded(t, n, 0)
}

// What arrives for a database that is not loaded is folded and acknowledged, and
// what it has is still given out.
func TestClosedDatabaseExchanges(t *testing.T) {
	ctx := t.Context()
	a := open(t, node.Config{})
	b := open(t, node.Config{Idle: time.Millisecond})
	mine, err := a.CreateDatabase(ctx, "atlas")
	if err != nil {
		t.Fatal(err)
	}
	url, err := a.Invite(ctx, "atlas", node.InviteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Join(ctx, url, "atlas"); err != nil {
		t.Fatal(err)
	}
	if err := b.Connect(ctx, a.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		becomesLoaded(t, b, 0)
		if _, err := mine.Collection("things").Insert(ctx, document(bson.D{{Key: "_id", Value: i}})); err != nil {
			t.Fatal(err)
		}
		identical(t, a, "atlas")
	}
	theirs, err := b.Database(ctx, "atlas")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := theirs.Collection("things").Count(ctx, nil); n != 20 || err != nil {
		t.Errorf("got %d documents, %v", n, err)
	}
}

// identical waits until every peer of a database is identical with n.
func identical(t *testing.T, n *node.Node, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		s, changed, err := n.DatabaseStatus(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		same := len(s.Peers) > 0
		for _, p := range s.Peers {
			same = same && p.State == "identical"
		}
		if same {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("not identical: %+v", s.Peers)
		}
	}
}
