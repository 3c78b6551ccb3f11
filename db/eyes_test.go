package db_test

import (
	"strings"
	"testing"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
)

// A reader is told of what a read rule shows: in watches, live queries and
// lists of refusals. A document that it begins or ceases to show is inserted or
// deleted; a live query ends when the rule changes.
func TestReadRuleInFeeds(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	ctx := db.WithReader(t.Context(), "did:key:ada", "")
	other := db.WithReader(t.Context(), "did:key:bob", "")
	err := x.CreateCollection(t.Context(), "c", db.CollectionOptions{Rules: db.Rules{Read: `doc.owner == reader`}})
	if err != nil {
		t.Fatal(err)
	}
	c := x.Collection("c")
	w, err := x.Watch(ctx, db.WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ada, err := c.Live(ctx, nil, db.FindOptions{Sort: raw(t, d("n", -1)), Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer ada.Close()
	bob, err := c.Live(other, nil, db.FindOptions{Sort: raw(t, d("n", -1)), Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer bob.Close()
	for i, owner := range []string{"ada", "bob", "ada", "ada"} {
		if _, err := c.Insert(t.Context(), raw(t, d("_id", i, "n", i, "owner", "did:key:"+owner))); err != nil {
			t.Fatal(err)
		}
	}
	for _, give := range []string{"bob", "ada"} {
		tx := func(tx *db.Tx) error {
			_, err := tx.Replace("c", raw(t, d("_id", 3)), raw(t, d("n", 3, "owner", "did:key:"+give)), db.UpdateOptions{})
			return err
		}
		if err := x.Transaction(db.WithReader(t.Context(), "did:key:"+map[string]string{"bob": "ada", "ada": "bob"}[give], ""), db.TxOptions{}, tx); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, ch := range changes(t, t, w) {
		got = append(got, ch.Operation+ch.ID.String())
		if strings.Contains(ch.After.String()+ch.Before.String(), "bob") {
			t.Errorf("got %+v", ch)
		}
	}
	want := `insert{"$numberInt":"0"} insert{"$numberInt":"2"} insert{"$numberInt":"3"} delete{"$numberInt":"3"} insert{"$numberInt":"3"}`
	if strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	for l, ids := range map[*db.Live][]int64{ada: {3, 2}, bob: {1}} {
		m := &mirror{l: l, docs: l.Result()}
		m.catchUp(t, t)
		if len(m.docs) != len(ids) {
			t.Fatalf("got %v, want %v", m.docs, ids)
		}
		for i, doc := range m.docs {
			if doc.Raw.Lookup("_id").AsInt64() != ids[i] {
				t.Errorf("got %v, want %v", m.docs, ids)
			}
		}
	}
	if err := x.DropCollection(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	var e error
	for e == nil {
		_, e = ada.Next(t.Context())
	}
	if !strings.Contains(e.Error(), "read rule") {
		t.Errorf("got %v", e)
	}
}
