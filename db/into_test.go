package db_test

import (
	"fmt"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/internal/fault"
)

func shown(t *testing.T, c *db.Collection) string {
	t.Helper()
	var out []string
	for _, doc := range all(t, c, nil, db.FindOptions{Sort: raw(t, d("_id", 1))}) {
		out = append(out, string(db.AppendJSON(nil, doc, false)))
	}
	return strings.Join(out, " ")
}

// What $out and $merge write is what MongoDB's documentation says of each mode.
func TestInto(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	from := x.Collection("from")
	if _, err := from.Insert(t.Context(), raw(t, d("_id", 1, "a", "new")), raw(t, d("_id", 2, "a", "new"))); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		stage bson.D
		want  string
		kind  fault.Kind
	}{
		{d("$out", "TO"), `{"_id":1,"a":"new"} {"_id":2,"a":"new"}`, ""},
		{d("$out", d("coll", "TO")), `{"_id":1,"a":"new"} {"_id":2,"a":"new"}`, ""},
		{d("$merge", "TO"), `{"_id":0,"a":"old"} {"_id":1,"a":"new","b":1} {"_id":2,"a":"new"}`, ""},
		{d("$merge", d("into", "TO", "whenMatched", "replace")), `{"_id":0,"a":"old"} {"_id":1,"a":"new"} {"_id":2,"a":"new"}`, ""},
		{d("$merge", d("into", "TO", "whenMatched", "keepExisting")), `{"_id":0,"a":"old"} {"_id":1,"a":"old","b":1} {"_id":2,"a":"new"}`, ""},
		{d("$merge", d("into", "TO", "whenNotMatched", "discard")), `{"_id":0,"a":"old"} {"_id":1,"a":"new","b":1}`, ""},
		{d("$merge", d("into", "TO", "whenMatched", "fail")), `{"_id":0,"a":"old"} {"_id":1,"a":"old","b":1}`, fault.DuplicateKey},
		{d("$merge", d("into", "TO", "whenNotMatched", "fail")), `{"_id":0,"a":"old"} {"_id":1,"a":"old","b":1}`, fault.NoMatch},
		{
			d("$merge", d("into", "TO", "let", d("who", "$_id"), "whenMatched", bson.A{d("$set", d("a", bson.A{"$a", "$$new.a", "$$who"}))})),
			`{"_id":0,"a":"old"} {"_id":1,"a":["old","new",1],"b":1} {"_id":2,"a":"new"}`, "",
		},
		{d("$merge", d("into", "TO", "on", "a")), `{"_id":0,"a":"old"} {"_id":1,"a":"old","b":1}`, fault.InvalidOptions},
	} {
		to := x.Collection(fmt.Sprintf("to%d", i))
		if _, err := to.Insert(t.Context(), raw(t, d("_id", 0, "a", "old")), raw(t, d("_id", 1, "a", "old", "b", 1))); err != nil {
			t.Fatal(err)
		}
		stage := strings.ReplaceAll(string(db.AppendJSON(nil, raw(t, c.stage), true)), "TO", to.Name())
		doc, err := db.ParseJSON([]byte(stage))
		if err != nil {
			t.Fatal(err)
		}
		got, err := aggregated(t.Context(), from, []bson.Raw{doc}, db.AggregateOptions{})
		if !fault.Is(err, c.kind) && (err != nil || c.kind != "") || len(got) > 0 {
			t.Errorf("%s: got %v, %v, want %q", stage, got, err, c.kind)
		}
		if got := shown(t, to); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", stage, got, c.want)
		}
	}
}

// A unique field finds the document, and one without it is refused.
func TestMergeOn(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	to := x.Collection("to")
	if _, err := to.Insert(t.Context(), raw(t, d("_id", 1, "k", "x", "n", 1))); err != nil {
		t.Fatal(err)
	}
	if _, err := to.CreateIndex(t.Context(), db.Index{Keys: []db.IndexKey{{Path: "k"}}, Unique: true}); err != nil {
		t.Fatal(err)
	}
	merge := d("$merge", d("into", "to", "on", "k"))
	if _, err := aggregated(t.Context(), x.Collection(""), pipe(t, d("$documents", bson.A{d("k", "x", "m", 2)}), d("$project", d("_id", 0)), merge), db.AggregateOptions{}); err != nil {
		// The result is given an _id, which the document there does not have.
		if !fault.Is(err, fault.ImmutableField) {
			t.Fatal(err)
		}
	}
	if _, err := aggregated(t.Context(), x.Collection(""), pipe(t, d("$documents", bson.A{d("m", 2)}), merge), db.AggregateOptions{}); !fault.Is(err, fault.BadValue) {
		t.Errorf("without the field: got %v", err)
	}
}

// $out of more than a record holds replaces all, also of the collection that it reads, and
// one whose result is refused leaves what was there.
func TestOutMany(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	var docs []bson.Raw
	for i := range 5000 {
		docs = append(docs, raw(t, d("_id", i, "n", i%3)))
	}
	if _, err := c.Insert(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	out := func(stages ...any) error {
		_, err := aggregated(t.Context(), c, pipe(t, stages...), db.AggregateOptions{})
		return err
	}
	if err := out(d("$match", d("n", d("$lt", 2))), d("$set", d("n", 7)), d("$out", "c")); err != nil {
		t.Fatal(err)
	}
	n, err := c.Count(t.Context(), nil)
	if err != nil || n != 3334 {
		t.Errorf("got %d documents, %v, want 3334", n, err)
	}
	if n, err = c.Count(t.Context(), raw(t, d("n", 7))); err != nil || n != 3334 {
		t.Errorf("got %d new documents, %v, want 3334", n, err)
	}
	if err := out(d("$group", d("_id", "$n", "all", d("$sum", 1))), d("$out", "c")); err != nil {
		t.Fatal(err)
	}
	if got := shown(t, c); got != `{"_id":7,"all":3334}` {
		t.Errorf("got %s", got)
	}
	if err := out(d("$match", d("_id", -1)), d("$out", "empty")); err != nil {
		t.Fatal(err)
	}
	if there, err := x.Collection("empty").Defined(t.Context()); err != nil || !there {
		t.Errorf("no results make no collection: %v", err)
	}
	if err := out(d("$set", d("_mod", 1)), d("$out", "c")); err == nil {
		t.Error("a reserved field was written")
	}
	if got := shown(t, c); got != `{"_id":7,"all":3334}` {
		t.Errorf("after a refusal: got %s", got)
	}
	err = x.Transaction(t.Context(), db.TxOptions{}, func(tx *db.Tx) error {
		_, err := tx.Aggregate("c", pipe(t, d("$out", "d")), db.AggregateOptions{})
		return err
	})
	if !fault.Is(err, fault.NotInTransaction) {
		t.Errorf("in a transaction: got %v", err)
	}
}
