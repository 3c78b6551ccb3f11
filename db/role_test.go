package db_test

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
)

// define gives the writers of databases the roles by which they define.
func define(t testing.TB, dbs []*replica.Replica, js []*dbtest.Journal, roles ...string) {
	t.Helper()
	by := map[clock.LogID]string{}
	for i, j := range js {
		by[j.Log()] = roles[i]
	}
	for i, j := range js {
		j.SetRights(func(id clock.RecordID) string {
			if id == (clock.RecordID{}) {
				return by[j.Log()]
			}
			return by[id.Log]
		})
		if err := dbs[i].SetCut(t.Context(), replica.Cut{}); err != nil {
			t.Fatal(err)
		}
	}
}

// A writer may begin collections, and add and drop plain indexes. All else is refused
// before anything is logged.
func TestWhoMayDefine(t *testing.T) {
	x, xj := dbtest.OpenIn(t, memory(t), "x")
	y, yj := dbtest.OpenIn(t, memory(t), "y")
	dbs, js := []*replica.Replica{x, y}, []*dbtest.Journal{xj, yj}
	define(t, dbs, js, "owner", "writer")
	ctx, hour := t.Context(), time.Hour
	field := func(name string) []db.IndexKey { return []db.IndexKey{{Path: name}} }
	if err := x.CreateCollection(ctx, "c", db.CollectionOptions{Indexes: []db.Index{
		{Keys: field("u"), Unique: true}, {Keys: field("t"), ExpireAfter: &hour}, {Keys: field("p")},
	}}); err != nil {
		t.Fatal(err)
	}
	if err := add(t, x, d("_id", 1, "u", 1)); err != nil {
		t.Fatal(err)
	}
	exchange(t, dbs, js)
	c := y.Collection("c")
	logged := func() int {
		es, err := yj.Entries()
		if err != nil {
			t.Fatal(err)
		}
		return len(es)
	}
	before := logged()
	index := func(x db.Index) error {
		_, err := c.CreateIndex(ctx, x)
		return err
	}
	modify := func(c db.CollectionChange) error {
		_, err := y.ModifyCollection(ctx, "c", c)
		return err
	}
	for what, err := range map[string]error{
		"a schema":                    modify(db.CollectionChange{Schema: raw(t, d("type", "object"))}),
		"rules":                       modify(db.CollectionChange{Rules: &db.Rules{Write: "true"}}),
		"a migration":                 modify(db.CollectionChange{Migrate: []bson.Raw{raw(t, d("drop", d("path", "z")))}}),
		"a unique index":              index(db.Index{Keys: field("v"), Unique: true}),
		"an expiring index":           index(db.Index{Keys: field("w"), ExpireAfter: &hour}),
		"to drop a unique index":      c.DropIndex(ctx, "u_1"),
		"to drop an expiring index":   c.DropIndex(ctx, "t_1"),
		"another time to expire":      c.SetExpireAfter(ctx, "t_1", 0),
		"to expire by a plain index":  c.SetExpireAfter(ctx, "p_1", 0),
		"to drop the collection":      y.DropCollection(ctx, "c"),
		"a collection with a schema":  y.CreateCollection(ctx, "s", db.CollectionOptions{Schema: raw(t, d("type", "object"))}),
		"a collection, and its rules": y.CreateCollection(ctx, "r", db.CollectionOptions{Rules: db.Rules{Define: "true"}}),
	} {
		if !errors.Is(err, db.ErrRole) {
			t.Errorf("%s by a writer: got %v", what, err)
		}
	}
	if n, err := c.Count(ctx, nil); n != 1 || err != nil || logged() != before {
		t.Errorf("refused, and yet %d documents (%v), %d records where there were %d", n, err, logged(), before)
	}
	for what, err := range map[string]error{
		"what is there":           index(db.Index{Keys: field("u"), Unique: true}),
		"a plain index":           index(db.Index{Keys: field("q")}),
		"to drop a plain index":   c.DropIndex(ctx, "p_1"),
		"a collection":            y.CreateCollection(ctx, "e", db.CollectionOptions{Indexes: []db.Index{{Keys: field("q")}}}),
		"to drop it":              y.DropCollection(ctx, "e"),
		"a collection, by insert": y.Transaction(ctx, db.TxOptions{Atomic: true}, func(tx *db.Tx) error { _, err := tx.Insert("i", raw(t, d("_id", 1))); return err }),
	} {
		if err != nil {
			t.Errorf("%s by a writer: %v", what, err)
		}
	}
	exchange(t, dbs, js)
	agree(t, dbs, js)
	for r, err := range x.Refused(ctx, db.RefusedOptions{}) {
		t.Errorf("refused: %v, %v", r, err)
	}
	if err := x.DropCollection(ctx, "c"); err != nil {
		t.Error(err)
	}
}

// genRights draws by which roles records define: those of a log up to a position by one, and
// those after it by another.
func genRights(t *rapid.T, es []journal.Entry) func(clock.RecordID) string {
	type split struct {
		at     int
		before string
		after  string
	}
	roles := rapid.SampledFrom([]string{"owner", "admin", "writer"})
	of := map[clock.LogID]split{}
	for _, log := range []clock.LogID{{1}, {2}, {3}} {
		of[log] = split{rapid.IntRange(0, len(es)).Draw(t, "until"), roles.Draw(t, "role"), roles.Draw(t, "then")}
	}
	return func(id clock.RecordID) string {
		if s := of[id.Log]; int(id.Seq) <= s.at {
			return s.before
		}
		return of[id.Log].after
	}
}

// genDefinitions is genEntries with plain indexes and define rules among the definitions.
func genDefinitions(t *rapid.T, tb testing.TB, n int) []journal.Entry {
	es := genEntries(t, tb, n)
	for i := range es {
		if rapid.IntRange(0, 2).Draw(t, "defines") > 0 {
			continue
		}
		coll := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "coll")
		change := rapid.SampledFrom([]bsonD{
			d("$addToSet", d("plain", d("name", "n_1", "key", d("n", -1)))), d("$pull", d("plain", d("name", "n_1"))),
			d("$addToSet", d("indexes", d("name", "u", "key", d("m", 1), "unique", true))),
			d("$set", d("rules", d("define", `member.role == "writer"`))), d("$set", d("rules", d("write", `op == "insert"`))),
			d("$unset", d("rules", 1)), d("$set", d("plain", []bsonD{d("name", "u", "key", d("m", 1), "unique", true)})), d("$unset", d("schema", 1)),
		}).Draw(t, "change")
		op := db.NewOp(2, "system.collections", value.String(coll), raw(tb, d("_id", coll)), raw(tb, change), true)
		if rapid.IntRange(0, 9).Draw(t, "drops") == 0 {
			op = db.NewOp(4, "system.collections", value.String(coll), raw(tb, d()), nil, false)
		}
		es[i].Payload = encoded(t, es[:i], es[i], []db.Op{op})
	}
	return es
}

func sameBy(t rapid.TB, x *replica.Replica, es []journal.Entry, c fold.Cut, right func(clock.RecordID) string) {
	want, docs, _ := db.ReferenceRights(es, c, right)
	got, err := db.Dump(x.DB)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, docs) {
		t.Fatalf("got %v\nwant %v", got, docs)
	}
	if _, h := x.StateHash(); h != want {
		t.Fatalf("got hash %v, want %v", h, want)
	}
}

// Whoever may define by the roles of now defines, whatever the roles were when the records
// were folded, and in whatever order they come, also after an end between steps.
func TestRolesDecideWhoDefines(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		es := genDefinitions(rt, t, 20)
		st := openMemory(rt)
		s := &tight{Store: st, puts: 24, commits: -1}
		j, err := dbtest.NewJournal(st, "J/", "local")
		if err != nil {
			rt.Fatal(err)
		}
		if rapid.Bool().Draw(rt, "wide") {
			s.puts = 100_000
		}
		right, cut := genRights(rt, es), fold.Cut{}
		j.SetRights(right)
		order := rapid.Permutation(es).Draw(rt, "order")
		held := 0
		for step := range 4 {
			n := rapid.IntRange(0, len(order)-held).Draw(rt, fmt.Sprint("delivered", step))
			if err := j.Deliver(order[held : held+n]...); err != nil {
				rt.Fatal(err)
			}
			held += n
			if rapid.Bool().Draw(rt, "roles change") {
				right = genRights(rt, es)
				j.SetRights(right)
			}
			if rapid.IntRange(0, 2).Draw(rt, "cut changes") == 0 {
				cut = genVoid(rt, es)
			}
			for round, ended := 0, true; ended; round++ {
				s.limit(-1)
				if round < 10 && rapid.Bool().Draw(rt, "ends") {
					s.limit(rapid.IntRange(1, 25).Draw(rt, "commits"))
				}
				x, err := replica.Open(t.Context(), replica.Options{Store: s, Prefix: []byte("D/"), Journal: j})
				if err == nil {
					if rapid.Bool().Draw(rt, "folded first") {
						err = x.Settle(t.Context())
					}
					if err == nil {
						err = x.SetCut(t.Context(), cut)
					}
					if err == nil {
						err = x.Settle(t.Context())
					}
					if err == nil {
						err = db.Built(x.DB)
					}
					if err == nil {
						sameBy(rt, x, order[:held], cut, right)
					}
					if err := x.Close(); err != nil {
						rt.Fatal(err)
					}
				}
				if ended = errors.Is(err, errEnd); err != nil && !ended {
					rt.Fatal(err)
				}
			}
		}
		if err := st.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}
