package db_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
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
	"github.com/weftdb/weft/internal/store/engines"
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
		es[i].Payload = encoded(t, es[:i], es[i], []db.Op{defining(t, tb, coll, change)})
	}
	return es
}

// defining is a change of a definition, or now and then its end.
func defining(t *rapid.T, tb testing.TB, coll string, change bsonD) db.Op {
	if rapid.IntRange(0, 9).Draw(t, "drops") == 0 {
		return db.NewOp(4, "system.collections", value.String(coll), raw(tb, d()), nil, false)
	}
	return db.NewOp(2, "system.collections", value.String(coll), raw(tb, d("_id", coll)), raw(tb, change), true)
}

// genContested draws few records, half of which define one collection.
func genContested(t *rapid.T, tb testing.TB) []journal.Entry {
	var es []journal.Entry
	var times [3]clock.Time
	for i := range rapid.IntRange(3, 9).Draw(t, "records") {
		l := rapid.IntRange(0, 2).Draw(t, "log")
		times[l] += clock.Time(rapid.IntRange(1, 3).Draw(t, "tick"))
		e := journal.Entry{Time: times[l] << 16, ID: clock.RecordID{Log: clock.LogID{byte(l + 1)}, Seq: uint64(i + 1), Hash: clock.Hash{byte(i + 1)}}}
		if rapid.Bool().Draw(t, "defines") {
			change := rapid.SampledFrom([]bsonD{
				d("$set", d("schema", schema)), d("$set", d("schema", schema)), d("$unset", d("schema", 1)),
				d("$set", d("rules", d("define", `member.role == "writer"`))), d("$unset", d("rules", 1)),
				d("$addToSet", d("plain", d("name", "n_1", "key", d("n", -1)))),
			}).Draw(t, "change")
			e.Payload = encoded(t, es, e, []db.Op{defining(t, tb, "a", change)})
		} else {
			k := value.Int32(rapid.Int32Range(0, 1).Draw(t, "id"))
			e.Payload = db.Encode([]db.Op{db.NewOp(3, "a", k, raw(tb, d()), raw(tb, d("n", rapid.Int32Range(3, 4).Draw(t, "n"))), true)})
		}
		if of := recordsOf(es, e.ID.Log); len(of) > 0 && rapid.IntRange(0, 5).Draw(t, "forked") == 0 {
			e.ID.Seq = rapid.SampledFrom(of).Draw(t, "twin").Seq
		}
		es = append(es, e)
	}
	return es
}

// Which definition holds and judges does not depend on what arrived together, and in which
// order, nor on roles and cuts that were.
func TestContestedDefinitions(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		es := genContested(rt, t)
		st := openMemory(rt)
		x, j := openReplica(rt, t, st)
		right, cut := genRights(rt, es), fold.Cut{}
		j.SetRights(right)
		order := rapid.Permutation(es).Draw(rt, "order")
		for held := 0; held < len(order); {
			if rapid.IntRange(0, 4).Draw(rt, "roles change") == 0 {
				right = genRights(rt, es)
				j.SetRights(right)
			}
			if rapid.IntRange(0, 4).Draw(rt, "cut changes") == 0 {
				cut = genVoid(rt, es)
			}
			n := rapid.IntRange(1, len(order)-held).Draw(rt, "delivered")
			if err := j.Deliver(order[held : held+n]...); err != nil {
				rt.Fatal(err)
			}
			held += n
			x.Wake()
			if err := x.Settle(t.Context()); err != nil {
				rt.Fatal(err)
			}
			setCut(t.Context(), rt, x, cut)
			sameBy(rt, x, order[:held], cut, right)
		}
		if err := errors.Join(x.Close(), st.Close()); err != nil {
			rt.Fatal(err)
		}
	})
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

// A definition that is only about to be folded judges nothing.
func TestDefinitionThatWaits(t *testing.T) {
	at := func(log byte, seq uint64, hash byte, tick clock.Time, payload []byte) journal.Entry {
		return journal.Entry{Time: tick << 16, ID: clock.RecordID{Log: clock.LogID{log}, Seq: seq, Hash: clock.Hash{hash}}, Payload: payload}
	}
	change := func(upd bsonD, view ...journal.Entry) []byte {
		var ids []clock.RecordID
		for _, e := range view {
			ids = append(ids, e.ID)
		}
		op := db.NewOp(4, "system.collections", value.String("a"), raw(t, d()), nil, false)
		if upd != nil {
			op = db.NewOp(2, "system.collections", value.String("a"), raw(t, d("_id", "a")), raw(t, upd), true)
		}
		return db.EncodeView(op, ids)
	}
	insert := func(n int32) []byte {
		return db.Encode([]db.Op{db.NewOp(1, "a", value.Int32(n), nil, raw(t, d("_id", n, "n", n)), false)})
	}
	// The last of these, a branch of the third's log, is senior to it, and so it is stale;
	// until then it would drop what refuses the insert.
	law := at(1, 3, 1, 4, change(d("$set", d("schema", schema))))
	refused := at(1, 3, 2, 5, insert(4))
	drop := at(3, 4, 9, 5, change(nil, law))
	branch := at(3, 4, 3, 3, change(d("$pull", d("indexes", d("name", "n_1")))))
	early := at(2, 1, 7, 1, insert(1))
	// A writer defines by a rule, of which it is known that it has seen it once what came after
	// it is there.
	rule := at(1, 1, 5, 2, change(d("$set", d("rules", d("define", `member.role == "writer"`)))))
	tip := at(1, 2, 8, 3, insert(2))
	ruled := at(3, 2, 6, 4, change(d("$set", d("schema", schema)), tip))
	owner := func(clock.RecordID) string { return "owner" }
	writers := func(id clock.RecordID) string { return map[byte]string{1: "owner", 3: "writer"}[id.Log[0]] }
	for _, c := range []struct {
		name  string
		right func(clock.RecordID) string
		come  [][]journal.Entry
	}{
		{"with what it is stale by", owner, [][]journal.Entry{{early, law, refused, drop, branch}}},
		{"before what it is stale by", owner, [][]journal.Entry{{early, law, refused, drop}, {branch}}},
		{"one by one", owner, [][]journal.Entry{{early}, {law}, {refused}, {drop}, {branch}}},
		{"before what it has seen", writers, [][]journal.Entry{{rule}, {ruled}, {tip}, {refused}}},
		{"after what it has seen", writers, [][]journal.Entry{{rule}, {tip}, {ruled}, {refused}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			st, err := engines.OpenMemory()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { st.Close() })
			x, j := dbtest.OpenIn(t, st, "local")
			j.SetRights(c.right)
			if err := x.SetCut(t.Context(), fold.Cut{}); err != nil {
				t.Fatal(err)
			}
			for _, es := range c.come {
				if err := j.Deliver(es...); err != nil {
					t.Fatal(err)
				}
				x.Wake()
				if err := x.Settle(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			_, docs, _ := db.ReferenceRights(slices.Concat(c.come...), fold.Cut{}, c.right)
			got, err := db.Dump(x.DB)
			if err != nil || !maps.Equal(got, docs) {
				t.Errorf("got %v, %v\nwant %v", got, err, docs)
			}
		})
	}
}
