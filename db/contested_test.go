package db_test

import (
	"testing"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
)

// A watch is told when a unique key comes to have several documents, and when it
// has one again: as it happens, and resumed.
func TestConflictIsWatched(t *testing.T) {
	x, j := dbtest.OpenIn(t, memory(t), "a")
	y, k := dbtest.OpenIn(t, memory(t), "b")
	ctx := t.Context()
	if _, err := x.Collection("c").CreateIndex(ctx, db.Index{Keys: []db.IndexKey{{Path: "email"}}, Unique: true}); err != nil {
		t.Fatal(err)
	}
	o := db.WatchOptions{Collections: []string{"c"}, Operations: []string{"conflict", "resolved"}}
	w := watch(t, t, x, o)
	defer w.Close()
	token, err := w.Token()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Collection("c").Insert(ctx, raw(t, d("_id", 1, "email", "e"))); err != nil {
		t.Fatal(err)
	}
	if _, err := y.Collection("c").Insert(ctx, raw(t, d("_id", 2, "email", "e"))); err != nil {
		t.Fatal(err)
	}
	deliver(t, x, j, k)
	o.ResumeAfter = token
	again := watch(t, t, x, o)
	for _, w := range []*db.Watch{w, again} {
		got := changes(t, t, w)
		if len(got) != 1 || got[0].Operation != "conflict" || got[0].Conflict.Documents != 2 || len(got[0].Conflict.Others) != 1 || got[0].Conflict.Index == "" {
			t.Fatalf("got %+v", got)
		}
	}
	again.Close()
	if _, err := x.Collection("c").Delete(ctx, raw(t, d("_id", 2)), false); err != nil {
		t.Fatal(err)
	}
	again = watch(t, t, x, o)
	defer again.Close()
	if got := changes(t, t, w); len(got) != 1 || got[0].Operation != "resolved" || got[0].Conflict.Documents != 0 {
		t.Fatalf("got %+v", got)
	}
	got := changes(t, t, again)
	if len(got) == 0 || got[len(got)-1].Operation != "resolved" {
		t.Fatalf("got %+v", got)
	}
}
