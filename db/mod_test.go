package db_test

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
)

// _mod is shown to what names it, not to what has a field x_mod, a string "_mod"
// or a field of that name further down.
func TestOnlyWhatNamesModSeesIt(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	doc := raw(t, d("_id", 1, "x_mod", 2, "a", d("_mod", 3), "s", "x_mod"))
	if _, err := c.Insert(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	// The number of the document's fields, as an expression counts them.
	fields := func(n int) bson.E {
		return bson.E{Key: "$expr", Value: d("$eq", bson.A{n, d("$size", d("$objectToArray", "$$ROOT"))})}
	}
	for _, filter := range []bson.D{
		{{Key: "x_mod", Value: 2}, fields(4)},
		{{Key: "a._mod", Value: 3}, fields(4)},
		{{Key: "s", Value: "x_mod"}, fields(4)},
		{{Key: "_mod", Value: d("$exists", true)}, fields(5)},
		{{Key: "$expr", Value: d("$gt", bson.A{"$_mod", nil})}},
	} {
		f := raw(t, filter)
		if n, err := c.Count(t.Context(), f); err != nil || n != 1 {
			t.Errorf("count %v: got %d, %v", filter, n, err)
		}
		w, err := x.Watch(t.Context(), db.WatchOptions{Filter: f})
		if err != nil {
			t.Fatal(err)
		}
		l, err := c.Live(t.Context(), f, db.FindOptions{})
		if err != nil || len(l.Result()) != 1 {
			t.Errorf("live %v: got %v, %v", filter, l.Result(), err)
		}
		if r, err := c.Update(t.Context(), f, raw(t, d("$set", d("s", "x_mod"))), db.UpdateOptions{}); err != nil || r.Matched != 1 {
			t.Errorf("update %v: got %v, %v", filter, r, err)
		}
		w.Close()
		l.Close()
	}
	for _, projection := range []bson.D{d("x_mod", 0), d("a._mod", 0), d("none", 0, "a", d("_mod", 0))} {
		o := db.FindOptions{Projection: raw(t, projection), Sort: raw(t, d("x_mod", 1))}
		got := all(t, c, nil, o)
		l, err := c.Live(t.Context(), nil, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []bson.Raw{got[0], l.Result()[0].Raw} {
			if _, err := r.LookupErr("_mod"); err == nil {
				t.Errorf("%v shows _mod: %v", projection, r)
			}
		}
		l.Close()
	}
	if got := all(t, c, nil, db.FindOptions{Projection: raw(t, d("_mod", 1))}); got[0].Lookup("_mod").Type != bson.TypeDateTime {
		t.Errorf("a projection of _mod shows %v", got)
	}
}
