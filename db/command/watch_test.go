package command_test

import (
	"errors"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/command"
	"github.com/weftdb/weft/db/dbtest"
)

func run(t *testing.T, rn *command.Runner, cmd bson.D) (bson.Raw, error) {
	b, err := bson.Marshal(cmd)
	if err != nil {
		return nil, err
	}
	return rn.Run(t.Context(), b)
}

// A getMore that is in flight when its runner is closed does not put its feed back, and
// none opens any more.
func TestFeedsEndAtClose(t *testing.T) {
	x, _ := dbtest.Open(t, "a")
	rn := command.New(x.DB)
	reply, err := run(t, rn, bson.D{{Key: "watch", Value: "c"}})
	if err != nil {
		t.Fatal(err)
	}
	more := bson.D{{Key: "getMore", Value: reply.Lookup("cursor", "id")}, {Key: "collection", Value: "c"}, {Key: "maxTimeMS", Value: 60_000}}
	read := make(chan error)
	go func() {
		_, err := run(t, rn, more)
		read <- err
	}()
	for rn.Feeds() > 0 { // until the getMore has it
		time.Sleep(time.Millisecond)
	}
	rn.Close()
	if _, err := x.Collection("c").Insert(t.Context(), bson.Raw{5, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	if err := <-read; !errors.Is(err, db.ErrClosed) || rn.Feeds() > 0 {
		t.Errorf("the getMore: got %v and %d subscriptions, want %v and none", err, rn.Feeds(), db.ErrClosed)
	}
	if _, err := run(t, rn, bson.D{{Key: "watch", Value: "c"}}); !errors.Is(err, db.ErrClosed) {
		t.Errorf("a watch after the close: got %v, want %v", err, db.ErrClosed)
	}
}
