package judge

import (
	"errors"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// An insert of an _id that exists is refused by a sentence that nobody pays for
// who does not read it.
func TestDuplicateIsCheapUntilRead(t *testing.T) {
	doc, err := bson.Marshal(bson.D{{Key: "_id", Value: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	id := value.Get(doc, "_id")
	op := &payload.Op{Kind: payload.Insert, Coll: "c", ID: id, Key: value.AppendKey(nil, id, false), Doc: doc}
	cur := keyspace.State{Doc: doc}
	var j Judge
	v := j.Decide(op, cur, Author{}, nil)
	if v.Code != keyspace.CodeDuplicate || !errors.Is(v.Err, ErrDuplicate) || fault.KindOf(v.Err) != fault.DuplicateKey {
		t.Fatalf("got %+v", v)
	}
	want := `E11000 duplicate key error collection: c index: _id_ dup key: {"_id":"a"}`
	if got := v.Err.Error(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if n := testing.AllocsPerRun(100, func() { j.Decide(op, cur, Author{}, nil) }); n > 2 {
		t.Errorf("a refused insert takes %v allocations", n)
	}
}
