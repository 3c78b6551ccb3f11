package db_test

import (
	"bytes"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
)

// Updates given as pipelines are judged at their place by every replica, with
// the time of the operation.
func TestUpdatePipelines(t *testing.T) {
	a, b := newReplica(t, "a"), newReplica(t, "b")
	works(t, a.x, d("insert", "c", "documents", bson.A{d("_id", 1, "n", 1), d("_id", 2, "n", 5)}))
	b.deliver(t, a.entries(t)...)
	double := bson.A{d("$set", d("n", d("$multiply", bson.A{"$n", 2}), "at", "$$NOW")), d("$unset", "x")}
	reply := works(t, a.x, d("update", "c", "updates", bson.A{d("q", d("$expr", d("$gt", bson.A{"$n", 2})), "u", double, "multi", true)}))
	if n := reply.Lookup("nModified").Int32(); n != 1 {
		t.Fatalf("%d modified: %v", n, reply)
	}
	if _, err := b.x.Collection("c").Update(t.Context(), raw(t, d("_id", 2)), db.PipelineUpdate(raw(t, d("$set", d("n", d("$add", bson.A{"$n", 1}))))), db.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	reply = works(t, b.x, d("findAndModify", "c", "query", d("_id", 1), "new", true, "update", bson.A{d("$replaceWith", d("m", "$n"))}))
	if n := reply.Lookup("value", "m").Int32(); n != 1 {
		t.Fatalf("got %v", reply)
	}
	a.deliver(t, b.entries(t)...)
	b.deliver(t, a.entries(t)...)
	if x, y := a.x.Info(), b.x.Info(); x.Hash != y.Hash {
		t.Fatal("the replicas differ")
	}
	for _, r := range []peer{a, b} {
		got := all(t, r.x.Collection("c"), raw(t, d("_id", 2)), db.FindOptions{})
		if n := got[0].Lookup("n").Int32(); n != 11 && n != 12 {
			t.Fatalf("got %v", got[0])
		}
	}
	fails(t, a.x, 72, d("findAndModify", "c", "query", d(), "update", bson.A{d("$match", d())}))
}

// Expressions of filters and projections are reachable through commands; one
// that fails on a document fails the query.
func TestExpressionsInQueries(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	works(t, x, d("insert", "c", "documents", bson.A{d("_id", 1, "n", 1, "l", bson.A{1, 2}), d("_id", 2, "n", 0, "l", bson.A{2})}))
	reply := works(t, x, d("find", "c", "filter", d("l", 2, "$expr", d("$eq", bson.A{"$n", 1})), "projection", d("l.$", 1, "next", d("$add", bson.A{"$n", 1}))))
	if want := raw(t, d("_id", 1, "l", bson.A{2}, "next", 2)).String(); reply.Lookup("cursor", "firstBatch", "0").Document().String() != want {
		t.Fatalf("got %v, want %v", reply, want)
	}
	works(t, x, d("find", "c", "filter", d("$expr", d("$gt", bson.A{"$$NOW", bson.DateTime(1)}))))
	fraction := d("$divide", bson.A{1, "$n"})
	fails(t, x, 2, d("find", "c", "filter", d("$expr", fraction)))
	fails(t, x, 2, d("find", "c", "projection", d("f", fraction)))
	fails(t, x, 2, d("find", "c", "filter", d("n", 1), "projection", d("l.$", 1)), "positional operator")
	fails(t, x, 2, d("count", "c", "query", d("$nor", bson.A{d("$expr", fraction)})))
}

// A BSON vector (binary subtype 9) is kept, folded and found byte for byte, odd ones too:
// what they mean is an app's matter.
func TestVectorsKeepTheirBytes(t *testing.T) {
	a, b := newReplica(t, "a"), newReplica(t, "b")
	vectors := [][]byte{
		{0x27, 0, 0, 0, 0x80, 0x3f, 0, 0, 0xc0, 0x7f}, // float32: 1, NaN
		{0x03, 0, 0x80, 0x7f},                         // int8
		{0x10, 4, 0xab, 0xcf},                         // bits, of the last byte 4 do not count and are set
		{},                                            // not a vector at all
	}
	for i, v := range vectors {
		works(t, a.x, d("insert", "c", "documents", bson.A{d("_id", i, "v", bson.Binary{Subtype: 9, Data: v}, "n", 0)}))
	}
	works(t, a.x, d("update", "c", "updates", bson.A{d("q", d(), "u", d("$inc", d("n", 1)), "multi", true)}))
	b.deliver(t, a.entries(t)...)
	if x, y := a.x.Info(), b.x.Info(); x.Hash != y.Hash {
		t.Fatal("the replicas differ")
	}
	for i, v := range vectors {
		got := all(t, b.x.Collection("c"), raw(t, d("v", bson.Binary{Subtype: 9, Data: v})), db.FindOptions{})
		if len(got) != 1 || got[0].Lookup("_id").Int32() != int32(i) {
			t.Fatalf("vector %d: found %v", i, got)
		}
		if sub, data := got[0].Lookup("v").Binary(); sub != 9 || !bytes.Equal(data, v) {
			t.Errorf("vector %d: got subtype %d, %x, want 9, %x", i, sub, data, v)
		}
	}
}
