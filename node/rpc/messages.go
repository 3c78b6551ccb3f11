package rpc

import (
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
)

// stamp returns a time as messages have it. The zero time is an absent field, as it is what
// "never" and "not known" are in the node; a caller would read the encoded one as the year
// 1.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// after returns the time in as many seconds, the zero time for 0. The bound is far from
// where a time.Duration overflows, which is at 292 years.
func after(seconds int64) (time.Time, error) {
	const century = 100 * 365 * 24 * 3600
	if seconds < 0 || seconds > century {
		return time.Time{}, fault.Of(node.ErrInvalid, "invalid expiry: %d seconds", seconds)
	}
	if seconds == 0 {
		return time.Time{}, nil
	}
	return time.Now().Add(time.Duration(seconds) * time.Second), nil
}

// rawDocument checks BSON bytes from outside; none give nil. An empty field and an absent
// one are the same in proto3, so what a caller did not send is nil here, and orEmpty
// decides whether that means anything. The bytes are those of the message, not a copy.
func rawDocument(what string, b []byte) (bson.Raw, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if err := bson.Raw(b).Validate(); err != nil {
		return nil, fault.Of(node.ErrInvalid, "invalid %s: not BSON: %v", what, err)
	}
	return bson.Raw(b), nil
}

// orEmpty returns d, or the empty document, which matches all, for nil. Package db takes
// nil for a missing argument in some places, where a message that leaves a field out means
// the empty document.
func orEmpty(d bson.Raw) bson.Raw {
	if d == nil {
		return bson.Raw{5, 0, 0, 0, 0}
	}
	return d
}

// idDocument returns {_id: v} for an _id; nil for none. An _id can be of any type of BSON,
// which a field of a message cannot: so it travels in a document.
func idDocument(v bson.RawValue) ([]byte, error) {
	if v.IsZero() {
		return nil, nil
	}
	b, err := bson.Marshal(bson.D{{Key: "_id", Value: v}})
	if err != nil {
		return nil, fmt.Errorf("_id: %w", err)
	}
	return b, nil
}
