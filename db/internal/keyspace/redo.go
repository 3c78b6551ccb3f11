package keyspace

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A RedoMarker is the durable note of steps under way. It names no progress: everything
// that the steps do may be done again from the start.
type RedoMarker struct {
	Rescans []RedoRescan `bson:"rescans"`
	Void    [][]byte     `bson:"void"` // what of the cut is being changed
	Writing *RedoWriting `bson:"writing,omitempty"`
	Merging int64        `bson:"merging,omitempty"` // the last arrival that is folded together; 0 is one alone
	Moving  []RedoMove   `bson:"moving,omitempty"`  // what is moved
}

// A RedoMove is a record that stands elsewhere: the place, and its clock.
type RedoMove struct {
	N     int64      `bson:"n"`
	To    clock.Time `bson:"to"`
	Clock clock.Time `bson:"clock"`
}

// A RedoRescan is a collection to be folded again from a place on.
type RedoRescan struct {
	Coll  string `bson:"coll"`
	Time  int64  `bson:"time"`
	N     int64  `bson:"n"`
	Index int64  `bson:"index"`
}

// NewRedoRescan is a collection to be folded again from a place on.
func NewRedoRescan(coll string, from Ref) RedoRescan {
	return RedoRescan{coll, int64(from.Time), from.N, int64(from.Index)}
}

// From is the place.
func (s *RedoRescan) From() Ref {
	return Ref{Time: clock.Time(s.Time), N: s.N, Index: uint32(s.Index)}
}

// A RedoWriting is a document whose index entries are being written, and the head
// is not yet: the entries are of two states, that of the head and this.
type RedoWriting struct {
	Coll string `bson:"coll"`
	ID   []byte `bson:"id"`
	Doc  []byte `bson:"doc"`
}

// Save writes the marker.
func (m *RedoMarker) Save(tx store.Tx, space Space) error {
	v, err := bson.Marshal(m)
	if err != nil {
		return err
	}
	return tx.Put(space.Key(TagRedo), v)
}

// ParseRedo decodes a marker.
func ParseRedo(b []byte) (m RedoMarker, err error) {
	if err := bson.Unmarshal(b, &m); err != nil {
		return m, fault.Of(ErrCorrupt, "corrupt value in the store: %w", err)
	}
	return m, nil
}
