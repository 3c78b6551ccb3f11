package db_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/internal/fault"
)

type town struct {
	ID     string   `bson:"_id"`
	Name   string   `bson:"name"`
	People int64    `bson:"people"`
	Tags   []string `bson:"tags,omitempty"`
}

// Documents, filters and updates are what a program has: structs, maps and bson.D.
func TestDriver(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	ctx := t.Context()
	c := x.Collection("cities")
	cities := db.Of[town](c)
	if cities.Raw() != c {
		t.Error("the collection is another")
	}
	want := []town{{"li", "Vaduz", 5696, []string{"small"}}, {"ch", "Bern", 134000, nil}, {"is", "Reykjavík", 118918, nil}}
	ids, err := cities.Insert(ctx, want...)
	if err != nil || len(ids) != 3 || ids[1].StringValue() != "ch" {
		t.Fatal(ids, err)
	}
	if got, err := cities.Get(ctx, "li"); err != nil || fmt.Sprint(got) != fmt.Sprint(want[0]) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := cities.Get(ctx, 5); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Get(ctx, make(chan int)); !fault.Is(err, fault.BadValue) {
		t.Errorf("a channel as _id: got %v", err)
	}

	// Updates: of operators, as a map, as the stages of a pipeline.
	for _, upd := range []any{
		bson.D{{Key: "$inc", Value: bson.D{{Key: "people", Value: 1}}}},
		map[string]any{"$inc": map[string]int{"people": 1}},
		[]bson.D{{{Key: "$set", Value: bson.D{{Key: "people", Value: bson.D{{Key: "$add", Value: bson.A{"$people", 1}}}}}}}},
		bson.A{bson.M{"$set": bson.M{"name": "VADUZ"}}},
	} {
		if r, err := c.Update(ctx, bson.M{"_id": "li"}, upd, db.UpdateOptions{}); err != nil || r.Modified != 1 {
			t.Errorf("%v: got %v, %v", upd, r, err)
		}
	}
	got, err := cities.FindOne(ctx, bson.D{{Key: "people", Value: 5699}}, db.FindOptions{})
	if err != nil || got.Name != "VADUZ" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := c.Update(ctx, nil, 5, db.UpdateOptions{}); !fault.Is(err, fault.FailedToParse) {
		t.Errorf("a number as update: got %v", err)
	}
	if r, err := cities.Replace(ctx, bson.M{"_id": "li"}, want[0], db.UpdateOptions{}); err != nil || r.Modified != 1 {
		t.Errorf("got %v, %v", r, err)
	}

	// Reading: one by one, all at once, by a pipeline; it may end early.
	var names []string
	for v, err := range cities.Find(ctx, bson.M{"people": bson.M{"$gt": 6000}}, db.FindOptions{Sort: raw(t, d("people", -1))}) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, v.Name)
	}
	if !slices.Equal(names, []string{"Bern", "Reykjavík"}) {
		t.Errorf("got %q", names)
	}
	for range cities.Find(ctx, nil, db.FindOptions{}) {
		break
	}
	for _, err := range cities.Find(ctx, bson.M{"$bad": 1}, db.FindOptions{}) {
		if err == nil {
			t.Error("a filter that is none gives documents")
		}
	}
	if _, err := cities.FindOne(ctx, bson.M{"_id": "xx"}, db.FindOptions{}); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := c.FindOne(ctx, bson.M{"_id": "xx"}, db.FindOptions{}); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := c.FindOne(ctx, bson.M{"$bad": 1}, db.FindOptions{}); err == nil || errors.Is(err, db.ErrNotFound) {
		t.Errorf("a filter that is none: got %v", err)
	}
	var last town
	one, err := c.FindOne(ctx, nil, db.FindOptions{Sort: bson.M{"_id": -1}, Projection: bson.M{"name": 1}, Limit: 9})
	if err != nil || one.Decode(&last) != nil || fmt.Sprint(last) != fmt.Sprint(town{ID: want[0].ID, Name: want[0].Name}) || one.Mod == 0 {
		t.Errorf("got %v at %v, %v", last, one.Mod, err)
	}
	cur, err := c.Find(ctx, nil, db.FindOptions{Sort: raw(t, d("_id", 1))})
	if err != nil {
		t.Fatal(err)
	}
	var first town
	if !cur.Next() || cur.Decode(&first) != nil || first.ID != "ch" {
		t.Errorf("got %v", first)
	}
	var rest []town
	if err := cur.All(&rest); err != nil || len(rest) != 2 || fmt.Sprint(rest[1]) != fmt.Sprint(want[0]) {
		t.Errorf("got %v, %v", rest, err)
	}
	type sum struct{ All int64 }
	for v, err := range db.Aggregate[sum](ctx, c, []bson.M{{"$group": bson.M{"_id": nil, "all": bson.M{"$sum": "$people"}}}}, db.AggregateOptions{}) {
		if err != nil || v.All != 258614 {
			t.Errorf("got %v, %v", v, err)
		}
	}
	for _, err := range db.Aggregate[sum](ctx, c, "no pipeline", db.AggregateOptions{}) {
		if !fault.Is(err, fault.TypeMismatch) {
			t.Errorf("got %v", err)
		}
	}

	if n, err := c.Count(ctx, bson.M{"people": bson.M{"$lt": 6000}}); err != nil || n != 1 {
		t.Errorf("got %d, %v", n, err)
	}
	if v, err := c.Distinct(ctx, "name", bson.M{"_id": "is"}); err != nil || len(v) != 1 {
		t.Errorf("got %v, %v", v, err)
	}
	m, err := c.FindAndModify(ctx, bson.M{"_id": "is"}, bson.M{"$set": bson.M{"people": 1}}, db.ModifyOptions{New: true})
	if err != nil || m.Document.Lookup("people").AsInt64() != 1 {
		t.Errorf("got %v, %v", m, err)
	}
	if n, err := c.Delete(ctx, map[string]any{"_id": "is"}, false); err != nil || n != 1 {
		t.Errorf("got %d, %v", n, err)
	}
	// A document that does not decode ends the loop with the reason.
	if _, err := c.Insert(ctx, raw(t, d("_id", "zz", "people", "many"))); err != nil {
		t.Fatal(err)
	}
	if _, err := cities.Get(ctx, "zz"); err == nil {
		t.Error("a text is decoded as a number")
	}
}

// What is no document is refused by its Go type, in words of ours.
func TestNoDocument(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("cities")
	calls := map[string]func(v any) error{
		"insert": func(v any) error { _, err := c.Insert(t.Context(), v); return err },
		"count":  func(v any) error { _, err := c.Count(t.Context(), v); return err },
		"delete": func(v any) error { _, err := c.Delete(t.Context(), v, true); return err },
		"filter": func(v any) error {
			_, err := c.Update(t.Context(), v, bson.M{"$set": bson.M{"a": 1}}, db.UpdateOptions{})
			return err
		},
		"sort": func(v any) error { _, err := c.Find(t.Context(), nil, db.FindOptions{Sort: v}); return err },
	}
	for name, call := range calls {
		for _, v := range []any{"name", 5, true} {
			if err := call(v); !fault.Is(err, fault.TypeMismatch) || !strings.HasSuffix(err.Error(), fmt.Sprintf("is no document, but %T", v)) {
				t.Errorf("%s of %v: got %v", name, v, err)
			}
		}
	}
	if err := calls["insert"](nil); !fault.Is(err, fault.TypeMismatch) || err.Error() != "document 0 is nil" {
		t.Errorf("got %v", err)
	}
}
