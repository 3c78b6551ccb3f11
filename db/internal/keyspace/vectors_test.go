package keyspace

import (
	"bytes"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/vectors"
)

// TestVectors holds the state hash against testdata/vectors/state.json.
func TestVectors(t *testing.T) {
	doc, err := bson.Marshal(bson.D{{Key: "_id", Value: int32(1)}, {Key: "n", Value: "x"}})
	if err != nil {
		t.Fatal(err)
	}
	key := []byte("\x17\x3f\xf0\x00\x00\x00\x00\x00\x00\x00")
	at := clock.Stamp{Time: 1_700_000_000_000 << 16, Log: clock.LogID(bytes.Repeat([]byte{1}, 32)), Hash: clock.Hash(bytes.Repeat([]byte{2}, 32)), Index: 3}
	seeds := []lthash.Seed{DocSeed(nil, "cities", key, doc), DocSeed(nil, "cities", []byte("\x10"), nil), RefusedSeed(at, CodeSchema)}
	all := []vectors.Vector{
		{Name: "seed of a document", Bytes: seeds[0][:], Gives: vectors.Gives{"collection": "cities", "key": key, "document": doc}},
		{Name: "seed of a tombstone", Bytes: seeds[1][:], Gives: vectors.Gives{"collection": "cities", "key": []byte("\x10")}},
		{Name: "seed of a refusal", Bytes: seeds[2][:], Gives: vectors.Gives{"stamp": at, "code": byte(CodeSchema)}},
	}
	var s lthash.State
	sum := func(name string, of ...[]byte) {
		hash := s.Sum()
		all = append(all, vectors.Vector{Name: name, Bytes: hash[:], Gives: vectors.Gives{"seeds": of, "lanesBegin": s.Append(nil)[:32]}})
	}
	sum("hash of nothing")
	s.Apply([]lthash.Delta{{Seed: seeds[0]}})
	sum("hash of one", seeds[0][:])
	s.Apply([]lthash.Delta{{Seed: seeds[1]}, {Seed: seeds[2]}, {Seed: seeds[0]}})
	sum("hash of several", seeds[0][:], seeds[0][:], seeds[1][:], seeds[2][:])
	s.Apply([]lthash.Delta{{Seed: seeds[1], Remove: true}, {Seed: seeds[2], Remove: true}, {Seed: seeds[0], Remove: true}, {Seed: seeds[0], Remove: true}})
	if s != (lthash.State{}) {
		t.Error("what was added and taken away leaves something")
	}
	vectors.Check(t, "state", "docs/design/db.md, State hash", all...)
}
