package client

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/internal/fault"
)

// The error of a reply has the kind that the node says, whatever MongoDB's code is; a
// node that says none, or one of a later release, is understood by the code.
func TestReplyErrorKeepsTheKind(t *testing.T) {
	reply := func(ok float64, code int32) []byte {
		b, err := bson.Marshal(bson.D{{Key: "ok", Value: ok}, {Key: "code", Value: code}, {Key: "errmsg", Value: "no"}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, code := range []int32{1, 2, 13} {
		for _, k := range fault.Kinds() {
			err := ReplyError(&weftv1.RunResponse{Reply: reply(0, code), Code: string(k)})
			if fault.KindOf(err) != k || err.Error() != "no" {
				t.Errorf("code %d: got %v (%s), want %s", code, err, fault.KindOf(err), k)
			}
		}
	}
	for _, word := range []string{"", "of_tomorrow"} {
		if err := ReplyError(&weftv1.RunResponse{Reply: reply(0, 13), Code: word}); fault.KindOf(err) != fault.Rule {
			t.Errorf("%q: got %s, want %s", word, fault.KindOf(err), fault.Rule)
		}
	}
	if err := ReplyError(&weftv1.RunResponse{Reply: reply(1, 0)}); err != nil {
		t.Errorf("ok: 1 tells %v", err)
	}
}
