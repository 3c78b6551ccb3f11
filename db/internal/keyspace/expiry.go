package keyspace

import (
	"encoding/binary"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// expiring returns the indexes by which documents of c expire.
func expiring(xs []*Index) (out []*Index) {
	for _, x := range xs {
		if x.ExpireAfter != nil && !x.Shadow {
			out = append(out, x)
		}
	}
	return out
}

// Expired reports whether doc has expired at now: no reader sees it any more.
func (c *Coll) Expired(doc []byte, now time.Time) bool {
	for _, x := range c.TTL {
		if x.Expires(doc, now) {
			return true
		}
	}
	return false
}

// cutoff is the latest date that has expired at now.
func (ix *Index) cutoff(now time.Time) int64 { return now.Add(-*ix.ExpireAfter).UnixMilli() }

// Expires reports whether ix says that doc has expired at now: any date in an array
// will do, and what is no date never expires.
func (ix *Index) Expires(doc []byte, now time.Time) bool {
	if ix.Filter != nil && !ix.Filter.Match(doc) {
		return false
	}
	var room [4]value.Value
	vals, _ := ix.paths[0].DistinctValues(room[:0], doc)
	limit := ix.cutoff(now)
	for _, v := range vals {
		if v.Type == bson.TypeDateTime && int64(binary.LittleEndian.Uint64(v.Data)) <= limit {
			return true
		}
	}
	return false
}

// ExpiredFilter matches what has expired at now. It names that moment, so it
// means the same wherever it is judged.
func (ix *Index) ExpiredFilter(now time.Time) (bson.Raw, error) {
	date := bson.D{{Key: ix.Keys[0].Path, Value: bson.D{{Key: "$lte", Value: bson.DateTime(ix.cutoff(now))}}}}
	if ix.Partial == nil {
		return bson.Marshal(date)
	}
	return bson.Marshal(bson.D{{Key: "$and", Value: bson.A{date, ix.Partial}}})
}
