package payload

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/vectors"
)

// TestVectors holds the payloads of records against testdata/vectors/payloads.json.
func TestVectors(t *testing.T) {
	doc := func(d bson.D) []byte {
		b, err := bson.Marshal(append(bson.D{}, d...)) // nil is no document
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	with := func(k Kind, coll string, id any, filter, body bson.D) Op {
		o := Op{Kind: k, Coll: coll, Filter: doc(filter)}
		if k == Insert {
			o.Doc, o.Filter = doc(append(bson.D{{Key: "_id", Value: id}}, body...)), nil
			o.ID = DocID(o.Doc)
		} else {
			o.ID = value.Get(doc(bson.D{{Key: "v", Value: id}}), "v")
			if k != Delete {
				o.Doc = doc(body)
			}
		}
		key, err := CheckID(o.ID)
		if err != nil {
			t.Fatal(err)
		}
		o.Key = key
		return o
	}
	none := bson.D{}
	inc := bson.D{{Key: "$inc", Value: bson.D{{Key: "n", Value: int32(1)}}}}
	upsert := with(Update, "b", "x", bson.D{{Key: "n", Value: int32(1)}}, inc)
	upsert.Upsert = true
	filters := with(Update, "b", int32(5), none, bson.D{{Key: "$set", Value: bson.D{{Key: "l.$[e].x", Value: true}}}})
	filters.ArrayFilters = [][]byte{doc(bson.D{{Key: "e.y", Value: bson.D{{Key: "$gt", Value: int32(3)}}}})}
	state := func(coll string, id any, mod uint64) Op {
		o := with(Insert, coll, id, nil, bson.D{{Key: "n", Value: 1.5}})
		o.Kind, o.Mod = State, mod
		return o
	}
	values := func(ops []Op) (out []any) {
		for _, o := range ops {
			out = append(out, vectors.Gives{
				"kind": o.Kind.String(), "upsert": o.Upsert, "coll": o.Coll, "idType": byte(o.ID.Type), "id": o.ID.Data, "key": o.Key,
				"filter": o.Filter, "doc": o.Doc, "arrayFilters": o.ArrayFilters, "mod": o.Mod,
			})
		}
		return out
	}
	var all []vectors.Vector
	for _, c := range []struct {
		name string
		ops  []Op
	}{
		{"insert", []Op{with(Insert, "a", bson.ObjectID{1, 2}, none, bson.D{{Key: "n", Value: "x"}})}},
		{"of each kind", []Op{
			with(Insert, "a", int32(1), none, none), upsert, with(Replace, "a", int64(2), none, bson.D{{Key: "m", Value: nil}}),
			with(Delete, "b", "y", bson.D{{Key: "n", Value: int32(2)}}, none),
		}},
		{"the same body", []Op{with(Update, "a", int32(1), none, inc), with(Update, "a", int32(2), none, inc), with(Update, "b", int32(2), none, inc)}},
		{"array filters", []Op{filters}},
	} {
		all = append(all, vectors.Vector{
			Name: c.name, Values: values(c.ops), Bytes: Encode(c.ops),
			Back: func(b []byte) (any, error) {
				ops, view, err := Decode(b, false)
				if view != nil {
					err = fault.Of(ErrMalformed, "a view")
				}
				return values(ops), err
			},
		})
	}
	define := with(Insert, "system.collections", "a", none, none)
	view := []clock.RecordID{{Log: clock.LogID{1}, Seq: 3, Hash: clock.Hash{2}}, {Log: clock.LogID{4}, Seq: 200, Hash: clock.Hash{5}}}
	all = append(all, vectors.Vector{
		Name: "a definition, with what its author had", Values: []any{values([]Op{define}), vectors.Of(view)}, Bytes: EncodeView(&define, view),
		Back: func(b []byte) (any, error) {
			ops, view, err := Decode(b, false)
			return []any{values(ops), vectors.Of(view)}, err
		},
	})
	horizon := &Horizon{T: 1_700_000_000_000<<16 + 9, View: view}
	all = append(all, vectors.Vector{
		Name: "horizon", Values: vectors.Of(horizon), Bytes: EncodeHorizon(horizon),
		Back: func(b []byte) (any, error) {
			h, err := DecodeHorizon(b)
			return vectors.Of(h), err
		},
	})
	snapshot := []Op{state("a", int32(1), 1_700_000_000_000<<16+3), state("system.collections", "a", 7)}
	all = append(all, vectors.Vector{
		Name: "snapshot", Values: values(snapshot), Bytes: EncodeSnapshot(snapshot),
		Back: func(b []byte) (any, error) {
			ops, err := DecodeSnapshot(b)
			return values(ops), err
		},
	})
	vectors.Check(t, "payloads", "docs/design/db.md, Payload of a record; docs/design/places.md, The record; docs/design/checkpoints.md, Formats", all...)
}
