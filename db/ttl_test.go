package db_test

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
)

// ttlReplica is a database whose time is ms.
func ttlReplica(t testing.TB, name string, ms *atomic.Int64) (*replica.Replica, *dbtest.Journal) {
	st := memory(t)
	j, err := dbtest.NewJournal(st, "J/", name)
	if err != nil {
		t.Fatal(err)
	}
	clk := &clock.Clock{Wall: func() time.Time { return time.UnixMilli(ms.Load()) }}
	x, err := replica.Open(t.Context(), replica.Options{Store: st, Prefix: []byte("D/"), Journal: j, Clock: clk})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x, j
}

// Readers do not see what has expired; a sweep deletes it by operations, and a
// concurrent change to a later date survives on every replica.
func TestExpiry(t *testing.T) {
	var now atomic.Int64
	now.Store(1_800_000_000_000)
	at := func(s int64) bson.DateTime { return bson.DateTime(1_800_000_000_000 + s*1000) }
	x, xj := ttlReplica(t, "x", &now)
	y, yj := ttlReplica(t, "y", &now)
	ctx := t.Context()
	hour := time.Hour
	c := x.Collection("c")
	if _, err := c.CreateIndex(ctx, db.Index{Keys: []db.IndexKey{{Path: "at"}}, ExpireAfter: &hour}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Insert(ctx, raw(t, d("_id", 1, "at", at(0))), raw(t, d("_id", 2, "at", at(1800))), raw(t, d("_id", 3, "at", bson.A{at(9000), at(0)})),
		raw(t, d("_id", 4, "at", "never")), raw(t, d("_id", 5)), raw(t, d("_id", 6, "at", at(0))))
	if err != nil {
		t.Fatal(err)
	}
	exchange := func() {
		t.Helper()
		for _, p := range []struct {
			from, to *dbtest.Journal
			db       *replica.Replica
		}{{xj, yj, y}, {yj, xj, x}} {
			es, err := p.from.Entries()
			if err == nil {
				err = p.to.Deliver(es...)
			}
			p.db.Wake()
			if err = errors.Join(err, p.db.Settle(ctx), db.Built(p.db.DB)); err != nil {
				t.Fatal(err)
			}
		}
	}
	sees := func(r *replica.Replica, want ...int64) {
		t.Helper()
		for _, q := range []struct {
			filter any
			o      db.FindOptions
		}{
			{nil, db.FindOptions{}},
			{nil, db.FindOptions{NoIndex: true}},
			{raw(t, d("_id", d("$lt", 9))), db.FindOptions{}},
			{nil, db.FindOptions{Sort: raw(t, d("at", -1))}},
		} {
			got := idsOf(all(t, r.Collection("c"), q.filter, q.o))
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("%v: got %v, want %v", q, got, want)
			}
		}
		if n, err := r.Collection("c").Count(ctx, nil); err != nil || int(n) != len(want) {
			t.Fatalf("counted %d, %v, want %d", n, err, len(want))
		}
	}
	exchange()
	if !db.SweepIsDue(x.DB) || !db.SweepIsDue(y.DB) {
		t.Fatal("no sweep is to come")
	}
	sees(x, 1, 2, 3, 4, 5, 6)
	now.Add(3_600_000 - 1)
	sees(x, 1, 2, 3, 4, 5, 6)
	// y gives 6 a later date; x does not know.
	if _, err := y.Collection("c").Update(ctx, raw(t, d("_id", 6)), raw(t, d("$set", d("at", at(9000)))), db.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	now.Add(1)
	for _, r := range []*replica.Replica{x} {
		sees(r, 2, 4, 5)
		if _, err := r.Collection("c").Get(ctx, id(int32(1))); !errors.Is(err, db.ErrNotFound) {
			t.Fatalf("got %v", err)
		}
	}
	sees(y, 2, 4, 5, 6)
	if n, err := y.Sweep(ctx); n != 0 || err != nil {
		t.Fatalf("the replica that wrote nothing deleted %d, %v", n, err)
	}
	db.SweepNow(x.DB)
	if !db.SweepIsDue(x.DB) {
		t.Fatal("no sweep follows the first")
	}
	if n := x.Info().Documents; n != 3 {
		t.Fatalf("%d documents are left", n)
	}
	exchange()
	for _, r := range []*replica.Replica{x, y} {
		sees(r, 2, 4, 5, 6)
		if n := r.Info().Documents; n != 4 {
			t.Fatalf("%d documents are left", n)
		}
	}
	_, hx := x.StateHash()
	if _, hy := y.StateHash(); hx != hy {
		t.Fatal("the replicas differ")
	}
	// A longer life shows a document again, and keeps the index.
	change := d("collMod", "c", "index", d("keyPattern", d("at", 1), "expireAfterSeconds", 7200))
	now.Add(3_600_000)
	sees(x, 4, 5, 6)
	if r := runCommand(t, x, change); r.Lookup("expireAfterSeconds_old").AsInt64() != 3600 {
		t.Fatalf("got %v", r)
	}
	sees(x, 2, 4, 5, 6)
	if _, err := db.Dump(x.DB); err != nil {
		t.Fatal(err)
	}
	if r := runCommand(t, x, d("collMod", "c", "index", d("name", "at_1", "unique", true))); codeOf(r) != 72 {
		t.Fatalf("got %v", r)
	}
	if r := runCommand(t, x, d("collMod", "c", "index", d("name", "none", "expireAfterSeconds", 1))); codeOf(r) != 27 {
		t.Fatalf("got %v", r)
	}
	exchange()
	sees(y, 2, 4, 5, 6)
	// After an hour of grace any writer deletes.
	now.Add(3_600_000 + 1_800_000)
	sees(y, 4, 5, 6)
	if n, err := y.Sweep(ctx); n != 1 || err != nil {
		t.Fatalf("deleted %d, %v", n, err)
	}
	// A suspended database does not sweep, and goes on when it is used again.
	if !y.Suspend() {
		t.Fatal("not suspended")
	}
	db.SweepNow(y.DB)
	if !y.Suspended() || db.SweepIsDue(y.DB) {
		t.Fatal("a sweep is a use")
	}
	sees(y, 4, 5, 6)
	if !db.SweepIsDue(y.DB) {
		t.Fatal("no sweep is to come")
	}
}
