package db_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
)

// A record of 2,500 operations on a document of nearly a megabyte is refused on every
// replica, with the reason too_costly, wherever in the order it arrives.
func TestHostileRecordIsRefused(t *testing.T) {
	big := raw(t, d("_id", int32(1), "s", strings.Repeat("a", 900_000)))
	es := make([]journal.Entry, 3)
	var ops []db.Op
	for i := range 2500 {
		ops = append(ops, db.NewOp(2, "a", value.Int32(1), raw(t, d()), raw(t, d("$set", d("n", i))), false))
	}
	payloads := [][]db.Op{{db.NewOp(1, "a", value.Int32(1), nil, big, false)}, ops, {db.NewOp(2, "a", value.Int32(1), raw(t, d()), raw(t, d("$set", d("last", true))), false)}}
	for i := range es {
		es[i] = journal.Entry{Time: clock.Time(i+1) << 16, Payload: db.Encode(payloads[i])}
		es[i].ID = clock.RecordID{Log: clock.LogID{byte(i + 1)}, Seq: 1, Hash: clock.Hash{byte(i), 1}}
	}
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}} {
		x, j := openCounted(t)
		for _, i := range order {
			settle(t, x, j.Journal, es[i:i+1])
		}
		n := 0
		for r, err := range x.Refused(t.Context(), db.RefusedOptions{Reasons: []db.Reason{db.ReasonTooCostly}}) {
			if err != nil || !strings.Contains(r.Message, "share") {
				t.Fatal(r, err)
			}
			n++
		}
		if n != len(ops) {
			t.Errorf("in order %v %d operations of %d are too costly", order, n, len(ops))
		}
		same(t, x, es, fold.Cut{})
	}
}

// A bulk write that would be too much for one record becomes several, of which none is
// refused; a transaction, which is one record, says why it cannot be.
func TestCostlyBulkIsSeveralRecords(t *testing.T) {
	x, j := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("a")
	if _, err := c.Insert(t.Context(), raw(t, d("_id", 1, "z", 1))); err != nil {
		t.Fatal(err)
	}
	var docs []bson.Raw
	for i := range 250 {
		docs = append(docs, raw(t, d("_id", fmt.Sprint(i), "k", "k", "z", 1)))
	}
	if _, err := c.Insert(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	heavy := func(n int) bson.Raw {
		return raw(t, d("$pipeline", bson.A{d("$set", d("n", d("$sum", d("$map", d("input", d("$range", bson.A{0, n}), "in", d("$add", bson.A{"$$this", "$z"}))))))}))
	}
	before, err := j.Entries()
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Update(t.Context(), raw(t, d("k", d("$exists", true))), heavy(5_000), db.UpdateOptions{Many: true})
	if err != nil || r.Modified != 250 {
		t.Fatal(r, err)
	}
	after, err := j.Entries()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(after) - len(before); n < 2 {
		t.Errorf("250 costly operations are %d records", n)
	}
	y, yj := openCounted(t)
	settle(t, y, yj.Journal, after)
	if n := len(refusalTexts(t, y, db.RefusedOptions{})); n != 0 {
		t.Errorf("%d operations are refused elsewhere", n)
	}
	same(t, y, after, fold.Cut{})
	err = x.Transaction(t.Context(), db.TxOptions{}, func(tx *db.Tx) error {
		for range 16 {
			if _, err := tx.Update("a", raw(t, d("_id", 1)), heavy(100_000), db.UpdateOptions{}); err != nil {
				return err
			}
		}
		return nil
	})
	if !errors.Is(err, db.ErrTooCostly) {
		t.Errorf("a transaction that takes too much work: %v", err)
	}
}
