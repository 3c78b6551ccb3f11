package command

import (
	"context"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// cmdModifyIndex is {collMod, index: {name or keyPattern, expireAfterSeconds}}. Only that
// one option can change, because the entries of the index do not depend on it. Exactly one
// index has to be meant: "*" and a list, which dropIndexes takes too, are refused unless
// they come to one. The index is looked up before it is changed, for the old value in the
// reply; another who drops it in between has SetExpireAfter fail.
func (rn *Runner) cmdModifyIndex(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	if err := onlyFields(cmd, "index"); err != nil {
		return nil, err
	}
	spec := value.Get(cmd, "index")
	if !spec.IsDoc() {
		return nil, fault.Errorf(fault.TypeMismatch, "index must be a document")
	}
	var which value.Value
	var after *time.Duration
	it := value.Elements(spec.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		var err error
		switch {
		case (string(k) == "name" || string(k) == "keyPattern") && !which.Exists():
			which = v
		case string(k) == "expireAfterSeconds":
			after, err = keyspace.ExpireOption(string(k), v)
		default:
			err = fault.Errorf(fault.InvalidOptions, "collMod cannot change %q of an index", k)
		}
		if err != nil {
			return nil, err
		}
	}
	if after == nil {
		return nil, fault.Errorf(fault.InvalidOptions, "collMod needs the expireAfterSeconds of the index")
	}
	c := rn.db.Collection(name)
	xs, err := c.Indexes(ctx)
	if err != nil {
		return nil, err
	}
	names, err := droppedNames(which, xs)
	if err != nil {
		return nil, err
	}
	if len(names) != 1 {
		return nil, fault.Errorf(fault.InvalidOptions, "collMod needs the name or the keyPattern of one index")
	}
	at := slices.IndexFunc(xs, func(x db.Index) bool { return x.Name == names[0] })
	if at < 0 {
		return nil, fault.Of(keyspace.ErrNoIndex, "no index %s", names[0])
	}
	old := xs[at]
	reply := bson.D{}
	if old.ExpireAfter != nil {
		reply = append(reply, bson.E{Key: "expireAfterSeconds_old", Value: int64(*old.ExpireAfter / time.Second)})
	}
	return append(reply, bson.E{Key: "expireAfterSeconds_new", Value: int64(*after / time.Second)}), c.SetExpireAfter(ctx, names[0], *after)
}
