package rpc

import (
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
)

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// after returns the time in as many seconds, the zero time for 0.
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

// rawDocument checks BSON bytes from outside; none give nil.
func rawDocument(what string, b []byte) (bson.Raw, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if err := bson.Raw(b).Validate(); err != nil {
		return nil, fault.Of(node.ErrInvalid, "invalid %s: not BSON: %v", what, err)
	}
	return bson.Raw(b), nil
}

// orEmpty returns d, or the empty document, which matches all, for nil.
func orEmpty(d bson.Raw) bson.Raw {
	if d == nil {
		return bson.Raw{5, 0, 0, 0, 0}
	}
	return d
}

// idDocument returns {_id: v} for an _id; nil for none.
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
