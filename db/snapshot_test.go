package db_test

import (
	"errors"
	"fmt"
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
