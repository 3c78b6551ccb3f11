package db

import (
	"context"
	"iter"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/past"
	"github.com/weftdb/weft/internal/clock"
)

// A Conflict is a key of a unique index that several documents have, because
// their writers did not see each other. It ends when all but one change the
// value or are deleted.
type Conflict struct {
	Collection, Index string
	Key               bson.Raw    // as {email: "a@example.org"}
	Owner             KeyHolder   // the earliest to set its present value
	Others            []KeyHolder // in the order of Since; at most 100
	Documents         int64       // that have the key, the owner included
}

// A KeyHolder is a document that has a key, and the stamp of the operation that
// gave it the key.
type KeyHolder struct {
	ID    bson.RawValue
	Since clock.Stamp
}

// Conflicts walks the conflicts of a collection's unique indexes, of all
// collections if it is "", by collection, index and key. Every replica that
// holds the same records gives the same conflicts with the same owners. An
// index that is still being built gives none yet.
func (db *DB) Conflicts(ctx context.Context, collection string) iter.Seq2[Conflict, error] {
	return func(yield func(Conflict, error) bool) {
		v, err := db.fold.Acquire()
		if err != nil {
			yield(Conflict{}, err)
			return
		}
		defer v.Release()
		h := past.NewHistorian(db.fold.Journal, v)
		for cf, err := range h.All(ctx, collection) {
			if !yield(publicConflict(&cf), err) {
				return
			}
		}
	}
}

func publicConflict(c *past.Conflict) Conflict {
	out := Conflict{Collection: c.Collection, Index: c.Index, Key: c.Key, Owner: KeyHolder(c.Owner), Documents: c.Documents}
	for _, o := range c.Others {
		out.Others = append(out.Others, KeyHolder(o))
	}
	return out
}
