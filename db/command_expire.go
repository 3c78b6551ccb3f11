package db

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// SetExpireAfter changes when the documents of an index expire, or lets them
// expire; the index keeps its entries. An index that cannot expire documents is
// CannotCreateIndex, an unknown one ErrNotFound.
func (c *Collection) SetExpireAfter(ctx context.Context, index string, after time.Duration) error {
	if err := writable(c.name); err != nil {
		return err
	}
	x, err := c.index(ctx, index)
	if err != nil {
		return err
	}
	x.ExpireAfter = &after
	if err := checkIndex(&x); err != nil {
		return err
	}
	set := bson.D{{Key: "$set", Value: bson.D{{Key: "indexes.$[x].expire", Value: int32(after / time.Second)}}}}
	op := defineOp(c.name, set)
	only, err := bson.Marshal(bson.D{{Key: "x.name", Value: index}})
	if err != nil || op == nil {
		return errors.Join(err, fault.Errorf(fault.BadValue, "the definition cannot be encoded"))
	}
	op.Upsert, op.ArrayFilters = false, [][]byte{only}
	results, _, err := c.db.write(ctx, []payload.Op{*op}, each)
	if err != nil {
		return err
	}
	return results[0]
}

func (c *Collection) index(ctx context.Context, name string) (Index, error) {
	xs, err := c.Indexes(ctx)
	for _, x := range xs {
		if x.Name == name {
			return x, nil
		}
	}
	if err == nil {
		err = fault.Of(errNoIndex, "cannot find index %s", name)
	}
	return Index{}, err
}

// cmdModifyIndex is {collMod, index: {name or keyPattern, expireAfterSeconds}}.
func (db *DB) cmdModifyIndex(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
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
			after, err = expireOption(string(k), v)
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
	c := db.Collection(name)
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
	old, err := c.index(ctx, names[0])
	if err != nil {
		return nil, err
	}
	reply := bson.D{}
	if old.ExpireAfter != nil {
		reply = append(reply, bson.E{Key: "expireAfterSeconds_old", Value: int64(*old.ExpireAfter / time.Second)})
	}
	return append(reply, bson.E{Key: "expireAfterSeconds_new", Value: int64(*after / time.Second)}), c.SetExpireAfter(ctx, names[0], *after)
}
