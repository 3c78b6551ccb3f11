package db_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
)

// A snapshot holds all collections as they were, and what it tells makes the
// same collections elsewhere.
func TestSnapshot(t *testing.T) {
	ctx := t.Context()
	x, _ := dbtest.Open(t, "a")
	schema := raw(t, d("type", "object", "properties", d("n", d("type", "integer"))))
	if err := x.CreateCollection(ctx, "typed", db.CollectionOptions{Schema: schema, Indexes: []db.Index{{Keys: []db.IndexKey{{Path: "n", Desc: true}}}}}); err != nil {
		t.Fatal(err)
	}
	if err := x.CreateCollection(ctx, "empty", db.CollectionOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		for _, c := range []string{"typed", "loose"} {
			if _, err := x.Collection(c).Insert(ctx, raw(t, d("_id", i, "n", i*i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	s, err := x.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, want := x.StateHash()
	if _, err := x.Collection("typed").Delete(ctx, nil, true); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Collection("late").Insert(ctx, raw(t, d("_id", 1))); err != nil {
		t.Fatal(err)
	}
	if s.Hash() != want {
		t.Error("the snapshot's hash changed")
	}
	names, err := s.Collections(ctx)
	if fmt.Sprint(names) != "[empty loose typed]" || err != nil {
		t.Fatalf("got %v, %v", names, err)
	}

	y, _ := dbtest.Open(t, "b")
	for _, name := range names {
		def, err := s.Definition(name)
		if err == nil {
			err = y.Define(ctx, def)
		}
		if err != nil {
			t.Fatal(err)
		}
		var docs []bson.Raw
		for doc, err := range s.Documents(ctx, name) {
			if err != nil {
				t.Fatal(err)
			}
			docs = append(docs, doc)
		}
		if len(docs) > 0 {
			if _, err := y.Collection(name).Insert(ctx, docs); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, got := y.StateHash(); got != want {
		t.Errorf("the copy's state hash is %s, want %s", got, want)
	}
	n, _ := y.StateHash()
	def, err := s.Definition("typed")
	if err == nil {
		err = y.Define(ctx, def)
	}
	if m, _ := y.StateHash(); m != n || err != nil {
		t.Errorf("defining it again wrote a record: %v", err)
	}
	if _, err := s.Definition("nothing"); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	for _, bad := range []bson.D{{}, d("_id", 7), d("_id", "system.x"), d("_id", "c", "schema", 7)} {
		if err := y.Define(ctx, raw(t, bad)); err == nil {
			t.Errorf("the definition %v was taken", bad)
		}
	}
}

// Whatever an update makes of a document can be inserted elsewhere as it is, so that an
// export is taken back and a history can be cut off.
func TestWhatGrowsFitsARecord(t *testing.T) {
	ctx := t.Context()
	x, _ := dbtest.Open(t, "a")
	c := x.Collection(strings.Repeat("c", 120))
	id := strings.Repeat("i", 500)
	if _, err := c.Insert(ctx, raw(t, d("_id", id, "s", strings.Repeat("x", 600<<10)))); err != nil {
		t.Fatal(err)
	}
	grow := func(n int) error {
		_, err := c.Update(ctx, raw(t, d("_id", id)), raw(t, d("$set", d("more", strings.Repeat("x", n)))), db.UpdateOptions{})
		return err
	}
	least, most := 0, 1<<19 // the largest text that fits lies between
	for least+1 < most {
		n := (least + most) / 2
		err := grow(n)
		switch {
		case err == nil:
			least = n
		case errors.Is(err, db.ErrTooLarge):
			most = n
		default:
			t.Fatal(err)
		}
	}
	if least < 300<<10 {
		t.Errorf("a text of %d bytes is too large", most)
	}
	doc, err := c.Get(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	y, _ := dbtest.Open(t, "b")
	if _, err := y.Collection(strings.Repeat("c", 120)).Insert(ctx, doc.Raw); err != nil {
		t.Errorf("a document of %d bytes: %v", len(doc.Raw), err)
	}
}
