package payload

import (
	"bytes"
	"testing"

	"github.com/weftdb/weft/internal/clock"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db/internal/value"
)

func raw(t interface{ Fatal(...any) }, v any) []byte {
	b, err := bson.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var genOp = rapid.Custom(func(t *rapid.T) Op {
	o := Op{
		Kind: Kind(rapid.IntRange(1, 4).Draw(t, "kind")),
		Coll: rapid.SampledFrom([]string{"a", "b", "system.collections"}).Draw(t, "coll"),
		ID:   value.String(rapid.StringN(0, 5, 20).Draw(t, "id")),
	}
	if rapid.Bool().Draw(t, "int id") {
		o.ID = value.Int32(rapid.Int32().Draw(t, "n"))
	}
	n := rapid.IntRange(0, 2).Draw(t, "body")
	switch o.Kind {
	case Insert:
		o.Doc = raw(t, bson.D{{Key: "_id", Value: o.ID.Raw()}, {Key: "n", Value: n}})
		return o
	case Update:
		o.Upsert = rapid.Bool().Draw(t, "upsert")
		o.Doc = raw(t, bson.D{{Key: "$set", Value: bson.D{{Key: "n", Value: n}}}})
		for range rapid.IntRange(0, 2).Draw(t, "array filters") {
			o.ArrayFilters = append(o.ArrayFilters, raw(t, bson.D{{Key: "x", Value: n}}))
		}
	case Replace:
		o.Doc = raw(t, bson.D{{Key: "n", Value: n}})
	}
	o.Filter = raw(t, bson.D{{Key: "f", Value: n}})
	return o
})

// What Encode writes, Decode gives back.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ops := rapid.SliceOfN(genOp, 1, 20).Draw(t, "ops")
		b := Encode(ops)
		got, view, err := Decode(b, false)
		if view != nil {
			t.Fatalf("got a view %v", view)
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(ops) {
			t.Fatalf("got %d operations, want %d", len(got), len(ops))
		}
		for i, o := range got {
			w := ops[i]
			same := o.Kind == w.Kind && (w.Kind == Insert || o.sameBody(&w))
			if !same || o.Coll != w.Coll || !value.Equal(o.ID, w.ID) || !bytes.Equal(o.Doc, w.Doc) {
				t.Fatalf("operation %d: got %+v, want %+v", i, o, w)
			}
		}
	})
}

// Any bytes are refused, or are the bytes that Encode gives for what they hold.
func FuzzDecode(f *testing.F) {
	f.Add(Encode([]Op{{Kind: Insert, Coll: "c", Doc: raw(f, bson.D{{Key: "_id", Value: "x"}})}}), false)
	del := Op{Kind: Delete, Coll: "c", ID: value.String("x"), Filter: raw(f, bson.D{})}
	up := Op{
		Kind: Update, Upsert: true, Coll: "d", ID: value.Int32(7), Filter: raw(f, bson.D{}), Doc: raw(f, bson.D{}),
		ArrayFilters: [][]byte{raw(f, bson.D{})},
	}
	f.Add(Encode([]Op{del, del, up, up}), true)
	f.Add(EncodeView(&up, nil), false)
	f.Add(EncodeView(&up, []clock.RecordID{{Log: clock.LogID{1}, Seq: 7, Hash: clock.Hash{2}}, {Log: clock.LogID{2}, Seq: 1}}), false)
	f.Fuzz(func(t *testing.T, b []byte, atomic bool) {
		ops, view, err := Decode(b, atomic)
		if err != nil {
			return
		}
		again := Encode(ops)
		if view != nil {
			again = EncodeView(&ops[0], view)
		}
		if !bytes.Equal(b, again) {
			t.Fatalf("decoded %x, encoded %x", b, again)
		}
	})
}

// A snapshot's documents come back as they were, and other bytes are refused.
func FuzzDecodeSnapshot(f *testing.F) {
	doc := func(id any) []byte { return raw(f, bson.D{{Key: "_id", Value: id}, {Key: "n", Value: 1}}) }
	f.Add(EncodeSnapshot([]Op{{Coll: "c", Doc: doc("x"), Mod: 7}, {Coll: "c", Doc: doc(2)}, {Coll: "system.collections", Doc: doc("c"), Mod: 1 << 60}}))
	f.Add(EncodeSnapshot(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		ops, err := DecodeSnapshot(b)
		if err != nil {
			return
		}
		if again := EncodeSnapshot(ops); !bytes.Equal(b, again) {
			t.Fatalf("decoded %x, encoded %x", b, again)
		}
	})
}

func TestSnapshotRoundTrip(t *testing.T) {
	in := []Op{{Coll: "c", Doc: raw(t, bson.D{{Key: "_id", Value: "x"}}), Mod: 7}, {Coll: "d", Doc: raw(t, bson.D{{Key: "_id", Value: 1}}), Mod: 8}}
	out, err := DecodeSnapshot(EncodeSnapshot(in))
	if err != nil || len(out) != 2 {
		t.Fatalf("got %v, %v", out, err)
	}
	for i, o := range out {
		if o.Kind != State || o.Coll != in[i].Coll || o.Mod != in[i].Mod || !bytes.Equal(o.Doc, in[i].Doc) || len(o.Key) == 0 {
			t.Errorf("got %+v, want %+v", o, in[i])
		}
	}
	b := EncodeSnapshot(in)
	for i := range b {
		if _, err := DecodeSnapshot(b[:i]); err == nil {
			t.Errorf("the first %d bytes of %d are taken", i, len(b))
		}
	}
}
