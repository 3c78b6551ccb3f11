package db_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/fault"
)

// An _id may be a document, as of a group by several fields: it is found by equality,
// whatever numbers are written as, by ranges and in order, with and without the index of
// _ids, on every replica.
func TestDocumentsAsIDs(t *testing.T) {
	a, b := newReplica(t, "a"), newReplica(t, "b")
	ids := []any{
		bson.D{},
		d("y", 1), d("y", 1, "c", "x"), d("y", 2, "c", "x"), d("y", bson.A{1, d("z", 2)}), d("z", 0),
		"y", 7, nil, true,
		bson.D{{Key: "y", Value: d("y", d())}},
	}
	for i, id := range ids {
		works(t, a.x, d("insert", "c", "documents", bson.A{d("_id", id, "n", i)}))
	}
	if _, err := a.x.Collection("c").Insert(t.Context(), raw(t, d("_id", d("y", 2.0, "c", "x")))); fault.KindOf(err) != fault.DuplicateKey {
		t.Fatalf("got %v, want a duplicate key", err)
	}
	works(t, a.x, d("update", "c", "updates", bson.A{d("q", d("_id", d("y", 2, "c", "x")), "u", d("$set", d("m", 1)))}))
	works(t, a.x, d("delete", "c", "deletes", bson.A{d("q", d("_id", d("z", 0)), "limit", 1)}))
	b.deliver(t, a.entries(t)...)
	if x, y := a.x.Info(), b.x.Info(); x.Hash != y.Hash || x.Documents != int64(len(ids)-1) {
		t.Fatalf("got %d documents, hashes %s and %s", x.Documents, x.Hash, y.Hash)
	}
	c := b.x.Collection("c")
	got, err := c.Get(t.Context(), docID(t, d("y", 2.0, "c", "x")))
	if err != nil || got.Raw.Lookup("m").Int32() != 1 {
		t.Fatalf("got %v, %v", got, err)
	}
	for _, q := range []bson.D{
		d(), d("_id", d("y", 1)), d("_id", d("c", "x", "y", 1)), d("_id", d("$gt", d("y", 1))), d("_id", d("$lte", d("y", 2))),
		d("_id", d("$in", bson.A{d("y", 1.0), "y", d("y", bson.A{1, d("z", 2)})})), d("_id.y", 1), d("_id", d("$type", "object")),
		d("_id", d("$ne", d())), d("_id", d("$gte", bson.D{}, "$lt", d("y", d()))),
	} {
		var texts [2][]string
		for i, no := range []bool{false, true} {
			for _, doc := range all(t, c, raw(t, q), db.FindOptions{Sort: raw(t, d("_id", 1)), NoIndex: no}) {
				texts[i] = append(texts[i], doc.String())
			}
		}
		if !slices.Equal(texts[0], texts[1]) || len(texts[1]) == 0 != (fmt.Sprint(q) == fmt.Sprint(d("_id", d("c", "x", "y", 1)))) {
			t.Errorf("%v: by the index %v, by a scan %v", q, texts[0], texts[1])
		}
	}
	for _, id := range []any{d("$gt", 1), bson.A{1}, d("a", strings.Repeat("x", 600)), bson.Regex{Pattern: "a"}} {
		_, err := c.Insert(t.Context(), raw(t, d("_id", id)))
		if fault.KindOf(err) != fault.InvalidIDField {
			t.Errorf("%v: got %v, want %s", id, err, fault.InvalidIDField)
		}
	}
}

func docID(t testing.TB, v any) bson.RawValue { return raw(t, d("_id", v)).Lookup("_id") }
