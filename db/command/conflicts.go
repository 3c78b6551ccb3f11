package command

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/fault"
)

// cmdConflicts is {conflicts: collection, skip, limit}: one batch of conflicts, of at most
// 1,000. It is no cursor: what the rest would be changes with every write, and finding an
// owner reads the journal, so a client asks again with skip. That those before are found
// anew each time is the price.
func (rn *Runner) cmdConflicts(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	skip, limit := number(cmd, "skip"), number(cmd, "limit")
	if skip < 0 || limit < 0 {
		return nil, fault.Errorf(fault.BadValue, "skip and limit cannot be negative")
	}
	if limit == 0 || limit > 1000 {
		limit = 1000
	}
	docs := bson.A{}
	for c, err := range rn.db.Conflicts(ctx, name) {
		if err != nil {
			return nil, err
		}
		if skip--; skip >= 0 {
			continue
		}
		docs = append(docs, conflictDoc(&c))
		if int64(len(docs)) == limit {
			break
		}
	}
	return rn.oneBatch("$cmd.conflicts", docs), nil
}

// conflictDoc is how a conflict is told: collection, index, key, owner, others, documents.
// One that is over when it is told has no documents, and only the collection and the index
// are said.
func conflictDoc(c *db.Conflict) bson.D {
	d := bson.D{{Key: "collection", Value: c.Collection}, {Key: "index", Value: c.Index}}
	if c.Documents == 0 {
		return d
	}
	others := bson.A{}
	for _, o := range c.Others {
		others = append(others, holderDoc(o))
	}
	return append(d, bson.E{Key: "key", Value: c.Key}, bson.E{Key: "owner", Value: holderDoc(c.Owner)},
		bson.E{Key: "others", Value: others}, bson.E{Key: "documents", Value: c.Documents})
}

func holderDoc(h db.KeyHolder) bson.D {
	return bson.D{{Key: "_id", Value: h.ID}, {Key: "since", Value: bson.D{
		{Key: "time", Value: h.Since.Time.Wall()},
		{Key: "stamp", Value: int64(h.Since.Time)},
		{Key: "log", Value: h.Since.Log.String()},
		{Key: "record", Value: h.Since.Hash.String()},
		{Key: "index", Value: int32(h.Since.Index)},
	}}}
}
