package db_test

import (
	"context"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
)

// Commands that read answer or fail, whatever they hold.
func FuzzReadCommands(f *testing.F) {
	x, _ := dbtest.OpenIn(f, memory(f), "a")
	c := x.Collection("c")
	for i := range 40 {
		doc := raw(f, d("_id", i, "a", i%5, "b", bson.A{i % 3, "x"}, "s", d("t", i)))
		if _, err := c.Insert(f.Context(), doc); err != nil {
			f.Fatal(err)
		}
	}
	for _, k := range []string{"a", "b", "s.t"} {
		if _, err := c.CreateIndex(f.Context(), db.Index{Keys: []db.IndexKey{{Path: k}}}); err != nil {
			f.Fatal(err)
		}
	}
	for _, cmd := range []string{
		`{"find": "c", "filter": {"a": {"$in": [1, 2]}, "$or": [{"b": 1}, {"s.t": {"$gt": 4}}]}, "sort": {"a": -1, "s.t": 1}, "skip": 1, "limit": 5, "batchSize": 2}`,
		`{"find": "c", "hint": {"a": 1}, "maxTimeMS": 100, "noCursorTimeout": true, "projection": {"a": 1}}`,
		`{"find": "c", "skip": 9223372036854775807, "limit": 9223372036854775807, "hint": {"$natural": -1}, "sort": {"_id": 1}}`,
		`{"count": "c", "query": {"a": {"$gte": 1}}, "limit": -3, "skip": 1, "hint": "a_1"}`,
		`{"distinct": "c", "key": "b", "query": {"a": null}}`,
		`{"getMore": 5, "collection": "c", "batchSize": 3}`,
		`{"killCursors": "c", "cursors": [1, 2]}`,
		`{"explain": {"find": "c", "filter": {"s.t": {"$regex": "^a"}}}, "verbosity": "executionStats"}`,
		`{"explain": {"delete": "c", "deletes": [{"q": {"a": 1}, "limit": 1}]}}`,
	} {
		f.Add(cmd)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cmd, err := db.ParseJSON([]byte(text))
		if err != nil {
			return
		}
		switch e, _ := cmd.IndexErr(0); e.Key() {
		case "find", "count", "distinct", "getMore", "killCursors", "explain":
		default:
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r, err := x.Run(ctx, cmd)
		if err != nil {
			t.Fatal(err)
		}
		if ok := r.Lookup("ok").AsFloat64() == 1; !ok && r.Lookup("errmsg").StringValue() == "" {
			t.Fatalf("no reason: %v", r)
		}
	})
}
