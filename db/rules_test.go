package db_test

import (
	"errors"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/replica"
)

func create(t testing.TB, x *replica.Replica, r db.Rules) {
	t.Helper()
	if err := x.CreateCollection(t.Context(), "c", db.CollectionOptions{Rules: r}); err != nil {
		t.Fatal(err)
	}
}

func add(t testing.TB, x *replica.Replica, docs ...bson.D) error {
	t.Helper()
	var raws []bson.Raw
	for _, doc := range docs {
		raws = append(raws, raw(t, doc))
	}
	_, err := x.Collection("c").Insert(t.Context(), raws)
	return err
}

const ownOnly = `op == "insert" ? doc.owner == writer : old.owner == writer && (op == "delete" || doc.owner == old.owner)`

// Write rules refuse before anything is logged, whatever way an operation comes.
func TestWriteRule(t *testing.T) {
	x, xj := dbtest.OpenIn(t, memory(t), "x")
	create(t, x, db.Rules{Write: ownOnly})
	if err := add(t, x, d("_id", 1, "owner", "did:key:x", "n", 1)); err != nil {
		t.Fatal(err)
	}
	before, err := xj.Entries()
	if err != nil {
		t.Fatal(err)
	}
	c := x.Collection("c")
	denied := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, db.ErrRule) || !strings.Contains(err.Error(), "the write rule of c") {
			t.Errorf("%s: got %v", what, err)
		}
	}
	denied("insert", add(t, x, d("_id", 2, "owner", "did:key:y")))
	denied("missing field", add(t, x, d("_id", 2)))
	_, err = c.Update(t.Context(), raw(t, d("_id", 1)), raw(t, d("$set", d("owner", "did:key:y"))), db.UpdateOptions{})
	denied("update", err)
	_, err = c.Replace(t.Context(), raw(t, d("_id", 1)), raw(t, d("n", 1)), db.UpdateOptions{})
	denied("replace", err)
	_, err = c.Update(t.Context(), raw(t, d("_id", 3)), raw(t, d("$set", d("owner", "did:key:y"))), db.UpdateOptions{Upsert: true})
	denied("upsert", err)
	err = x.Transaction(t.Context(), db.TxOptions{Atomic: true}, func(tx *db.Tx) error {
		_, err := tx.Insert("c", raw(t, d("_id", 4, "owner", "did:key:x")), raw(t, d("_id", 5, "owner", "me")))
		return err
	})
	denied("transaction", err)
	r := command(t, x, d("insert", "c", "documents", []any{d("_id", 6)}))
	if e := r.Lookup("writeErrors", "0"); e.Type == 0 || e.Document().Lookup("code").Int32() != 13 {
		t.Errorf("got %v", r)
	}
	if after, err := xj.Entries(); err != nil || len(after) != len(before) {
		t.Errorf("%d records were logged, %v", len(after)-len(before), err)
	}
	if _, err := c.Update(t.Context(), raw(t, d("_id", 1)), raw(t, d("$inc", d("n", 1))), db.UpdateOptions{}); err != nil {
		t.Error(err)
	}
	if n, err := c.Delete(t.Context(), raw(t, d("_id", 1)), false); n != 1 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}

// A rule is judged by the writer of the log, for all that its author had not seen, whatever
// its clock: what a device wrote before it knew the rule is refused everywhere, with the
// reason.
func TestRuleReplicates(t *testing.T) {
	x, xj := dbtest.OpenIn(t, memory(t), "x")
	y, yj := dbtest.OpenIn(t, memory(t), "y")
	dbs, js := []*replica.Replica{x, y}, []*dbtest.Journal{xj, yj}
	create(t, x, db.Rules{})
	exchange(t, dbs, js)
	if err := add(t, y, d("_id", 0, "owner", "did:key:x")); err != nil { // seen by the rule: it stays
		t.Fatal(err)
	}
	exchange(t, dbs, js)
	if err := add(t, y, d("_id", 3, "owner", "did:key:x")); err != nil { // before the rule, but not seen by it
		t.Fatal(err)
	}
	tick()
	if _, err := x.ModifyCollection(t.Context(), "c", db.CollectionChange{Rules: &db.Rules{Write: ownOnly}}); err != nil {
		t.Fatal(err)
	}
	tick()
	if err := add(t, y, d("_id", 1, "owner", "did:key:x"), d("_id", 2, "owner", "did:key:y")); err != nil {
		t.Fatal(err)
	}
	exchange(t, dbs, js)
	agree(t, dbs, js)
	for _, z := range dbs {
		if n, err := z.Collection("c").Count(t.Context(), nil); n != 2 || err != nil {
			t.Errorf("got %d documents, %v", n, err)
		}
		var got []db.Refusal
		for r, err := range z.Refused(t.Context(), db.RefusedOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r)
		}
		if len(got) != 2 || got[0].ID.Int32() != 3 || got[1].ID.Int32() != 1 {
			t.Fatalf("got %v", got)
		}
		for _, r := range got {
			if r.Reason != db.ReasonRule || !strings.Contains(r.Message, "the write rule of c") {
				t.Errorf("got %v", r)
			}
		}
	}
}

// Only whom the define rule allows changes the definition, the rule included.
func TestDefineRule(t *testing.T) {
	x, xj := dbtest.OpenIn(t, memory(t), "x")
	y, yj := dbtest.OpenIn(t, memory(t), "y")
	z, zj := dbtest.OpenIn(t, memory(t), "z")
	dbs, js := []*replica.Replica{x, y, z}, []*dbtest.Journal{xj, yj, zj}
	define(t, dbs, js, "owner", "admin", "writer")
	create(t, x, db.Rules{Define: `writer == "did:key:z" && member.role == "writer"`})
	exchange(t, dbs, js)
	// The rule decides for an admin too.
	if _, err := y.ModifyCollection(t.Context(), "c", db.CollectionChange{Rules: &db.Rules{}}); !errors.Is(err, db.ErrRule) {
		t.Errorf("got %v", err)
	}
	if err := y.DropCollection(t.Context(), "c"); !errors.Is(err, db.ErrRule) {
		t.Errorf("got %v", err)
	}
	// It lets a writer, who may shut out everybody but an owner.
	if _, err := z.ModifyCollection(t.Context(), "c", db.CollectionChange{Rules: &db.Rules{Define: "false"}}); err != nil {
		t.Error(err)
	}
	exchange(t, dbs, js)
	if _, err := z.ModifyCollection(t.Context(), "c", db.CollectionChange{Rules: &db.Rules{}}); !errors.Is(err, db.ErrRule) {
		t.Errorf("got %v", err)
	}
	if _, err := x.ModifyCollection(t.Context(), "c", db.CollectionChange{Rules: &db.Rules{Write: "false"}}); err != nil {
		t.Error(err)
	}
	exchange(t, dbs, js)
	agree(t, dbs, js)
	if err := add(t, y, d("_id", 1)); !errors.Is(err, db.ErrRule) {
		t.Errorf("got %v", err)
	}
}

// Every way to read leaves out what the reader may not see.
func TestReadRule(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "x")
	create(t, x, db.Rules{Read: `doc.owner == reader || member.role == "owner"`})
	var docs []bson.D
	for i := range 10 {
		docs = append(docs, d("_id", i, "owner", []string{"did:key:x", "did:key:z"}[i%2], "n", i%3))
	}
	if err := add(t, x, docs...); err != nil {
		t.Fatal(err)
	}
	c := x.Collection("c")
	if _, err := c.CreateIndex(t.Context(), db.Index{Keys: []db.IndexKey{{Path: "n"}}}); err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		ctx  string
		role string
		want int64
	}{{"", "", 5}, {"did:key:z", "", 5}, {"did:key:q", "", 0}, {"did:key:q", "owner", 10}} {
		ctx := t.Context()
		if r.ctx != "" {
			ctx = db.WithReader(ctx, r.ctx, r.role)
		}
		for _, f := range []bson.D{nil, d(), d("n", d("$gte", 0)), d("n", d("$in", []int{0, 1, 2})), d("_id", d("$lt", 100))} {
			var filter bson.Raw
			if f != nil {
				filter = raw(t, f)
			}
			if n, err := c.Count(ctx, filter); n != r.want || err != nil {
				t.Errorf("%v counts %v: got %d, %v", r, f, n, err)
			}
			cur, err := c.Find(ctx, filter, db.FindOptions{Sort: raw(t, d("n", 1))})
			if err != nil {
				t.Fatal(err)
			}
			n := int64(0)
			for cur.Next() {
				n++
			}
			if cur.Close(); n != r.want || cur.Err() != nil {
				t.Errorf("%v finds %v: got %d, %v", r, f, n, cur.Err())
			}
		}
		_, err := c.Get(ctx, bson.RawValue{Type: bson.TypeInt32, Value: []byte{1, 0, 0, 0}})
		if seen := r.ctx == "did:key:z" || r.role == "owner"; (err == nil) != seen || err != nil && !errors.Is(err, db.ErrNotFound) {
			t.Errorf("%v gets: %v", r, err)
		}
		reply, err := x.Run(ctx, raw(t, d("distinct", "c", "key", "_id")))
		if err != nil {
			t.Fatal(err)
		}
		if vs, err := reply.Lookup("values").Array().Values(); int64(len(vs)) != r.want || err != nil {
			t.Errorf("%v distinct: got %v, %v", r, reply, err)
		}
		for _, pipe := range [][]any{{d("$count", "n")}, {d("$group", d("_id", nil, "n", d("$sum", 1)))}, {
			d("$limit", 1),
			d("$lookup", d("from", "c", "pipeline", []any{}, "as", "all")), d("$project", d("n", d("$size", "$all"))),
		}} {
			reply, err := x.Run(ctx, raw(t, d("aggregate", "c", "pipeline", pipe, "cursor", d())))
			if err != nil {
				t.Fatal(err)
			}
			got, ok := reply.Lookup("cursor", "firstBatch", "0", "n").AsInt64OK()
			if got != r.want || ok != (r.want > 0) || reply.Lookup("ok").Double() != 1 {
				t.Errorf("%v aggregates %v: got %v", r, pipe, reply)
			}
		}
		res, err := c.Update(ctx, raw(t, d("n", d("$gte", 0))), raw(t, d("$set", d("m", 1))), db.UpdateOptions{Many: true})
		if res.Matched != r.want || err != nil {
			t.Errorf("%v updates: got %v, %v", r, res, err)
		}
	}
	if err := x.DropCollection(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	if n := x.Info().Documents; n != 0 {
		t.Errorf("%d documents are left", n)
	}
}
