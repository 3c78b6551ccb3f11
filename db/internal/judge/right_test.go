package judge

import (
	"errors"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
)

// A delegated device has no right to define. A rule that lets every writer define gives it
// none.
func TestNoRightDefinesNothing(t *testing.T) {
	doc := func(d bson.D) bson.Raw {
		b, err := bson.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	was := doc(bson.D{{Key: "_id", Value: "a"}, {Key: "rules", Value: bson.D{{Key: "define", Value: "true"}}}})
	schema := doc(bson.D{{Key: "$set", Value: bson.D{{Key: "schema", Value: `{"type":"object"}`}}}})
	decide := func(right string, upd bson.Raw) error {
		var j Judge
		op := payload.Op{Kind: payload.Update, Coll: SystemCollection, ID: value.String("a"), Filter: doc(bson.D{}), Doc: upd}
		return j.Decide(&op, keyspace.State{Doc: was}, Author{Ops: 1, Right: right, Role: "owner"}, nil).Err
	}
	if err := decide("writer", schema); err != nil {
		t.Errorf("a writer whom the rule lets: got %v", err)
	}
	if err := decide(RoleNone, schema); !errors.Is(err, keyspace.ErrRole) {
		t.Errorf("no right: got %v, want ErrRole", err)
	}
}
