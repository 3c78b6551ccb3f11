package command

import (
	"context"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// indexOf reads an index as createIndexes has it. An option that is not known is refused:
// one that was ignored would make an index that holds other documents than its owner
// believes. The index on _id passes, because clients ask for it, and is then not checked
// further.
func indexOf(spec bson.Raw) (x keyspace.IndexDef, err error) {
	weights := value.Value{}
	it := value.Elements(spec)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		switch name := string(k); name {
		case "key":
			if !v.IsDoc() {
				return x, fault.Errorf(fault.TypeMismatch, "the key of an index must be a document")
			}
			x.Keys, err = keyspace.ParseIndexKeys(v.Data)
		case "name":
			x.Name, err = keyspace.StringOption(name, v)
		case "unique":
			x.Unique, err = keyspace.BoolOption(name, v)
		case "sparse":
			x.Sparse, err = keyspace.BoolOption(name, v)
		case "partialFilterExpression":
			if !v.IsDoc() {
				return x, fault.Errorf(fault.TypeMismatch, "index option %q must be a document", name)
			}
			x.Partial = slices.Clone(v.Data)
		case "expireAfterSeconds":
			x.ExpireAfter, err = keyspace.ExpireOption(name, v)
		case "weights":
			weights = v
		case "default_language":
			x.Language, err = keyspace.StringOption(name, v)
		case "v", "background": // how MongoDB stores and builds it
		default:
			err = fault.Errorf(fault.InvalidIndexOption, "index option %q is not supported", name)
		}
		if err != nil {
			return x, err
		}
	}
	if err := keyspace.SetWeights(&x, weights); err != nil {
		return x, err
	}
	if keyspace.IsIDIndex(x) {
		return x, nil
	}
	return x, keyspace.CheckIndex(&x)
}

// indexSpec returns x as listIndexes tells it, and how far it is. building, done, total and
// conflicts are ours. A text index tells the weight 1 of the keys that have none, as
// MongoDB does.
func indexSpec(x db.Index) bson.D {
	weights := bson.D{}
	for _, k := range x.Keys {
		if k.Text {
			weights = append(weights, bson.E{Key: k.Path, Value: int32(max(1, k.Weight))})
		}
	}
	stored := keyspace.IndexDoc(keyspace.IndexDef(x))
	d := bson.D{{Key: "v", Value: int32(2)}, {Key: "key", Value: stored[1].Value}, {Key: "name", Value: x.Name}}
	if x.Unique {
		d = append(d, bson.E{Key: "unique", Value: true})
	}
	if x.Sparse {
		d = append(d, bson.E{Key: "sparse", Value: true})
	}
	if x.Partial != nil {
		d = append(d, bson.E{Key: "partialFilterExpression", Value: x.Partial})
	}
	if x.ExpireAfter != nil {
		d = append(d, bson.E{Key: "expireAfterSeconds", Value: int32(*x.ExpireAfter / time.Second)})
	}
	if len(weights) > 0 {
		d = append(d, bson.E{Key: "weights", Value: weights}, bson.E{Key: "default_language", Value: x.Language})
	}
	if x.State.Building {
		d = append(d, bson.E{Key: "building", Value: true}, bson.E{Key: "done", Value: x.State.Done}, bson.E{Key: "total", Value: x.State.Total})
	}
	if x.Unique {
		d = append(d, bson.E{Key: "conflicts", Value: x.State.Conflicts})
	}
	return d
}

// cmdCreateIndexes is {createIndexes, indexes: [{key, name, unique, …}, …]}. Those that are
// there already are counted and left alone. All are checked before the first is built, so
// that a wrong one leaves none of them; one that its documents violate is found when it is
// built, and those before it stay. The command returns when they cover all documents.
func (rn *Runner) cmdCreateIndexes(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	specs, err := list(cmd, "indexes")
	if err != nil {
		return nil, err
	}
	if len(specs) == 0 {
		return nil, fault.Errorf(fault.BadValue, "createIndexes needs at least one index")
	}
	c := rn.db.Collection(name)
	before, err := c.Indexes(ctx)
	if err != nil {
		return nil, err
	}
	defined, err := c.Defined(ctx)
	if err != nil {
		return nil, err
	}
	xs := make([]keyspace.IndexDef, len(specs))
	for i, s := range specs { // all of them before the first is built
		if xs[i], err = indexOf(s); err == nil && !keyspace.IsIDIndex(xs[i]) {
			err = c.CheckIndex(ctx, db.Index(xs[i]))
		}
		if err != nil {
			return nil, err
		}
	}
	for _, x := range xs {
		if _, err := c.CreateIndex(ctx, db.Index(x)); err != nil {
			return nil, err
		}
	}
	after, err := c.Indexes(ctx)
	reply := bson.D{
		{Key: "numIndexesBefore", Value: int32(len(before) + 1)},
		{Key: "numIndexesAfter", Value: int32(len(after) + 1)},
		{Key: "createdCollectionAutomatically", Value: !defined},
	}
	if len(before) == len(after) {
		reply = append(reply, bson.E{Key: "note", Value: "all indexes already exist"})
	}
	return reply, err
}

// cmdListIndexes is {listIndexes}; the index on _id, which nothing stores, comes first.
func (rn *Runner) cmdListIndexes(ctx context.Context, name string, _ bson.Raw) (bson.D, error) {
	if err := rn.mustBeDefined(ctx, name); err != nil {
		return nil, err
	}
	xs, err := rn.db.Collection(name).Indexes(ctx)
	if err != nil {
		return nil, err
	}
	docs := bson.A{bson.D{{Key: "v", Value: int32(2)}, {Key: "key", Value: bson.D{{Key: "_id", Value: int32(1)}}}, {Key: "name", Value: "_id_"}}}
	for _, x := range xs {
		docs = append(docs, indexSpec(x))
	}
	return rn.oneBatch(name, docs), nil
}

// cmdDropIndexes is {dropIndexes, index: a name, names, a key document or "*"}. The names
// are found before the first is dropped. Each is a change of its own: at the first that is
// not there those before it are gone. The index on _id is not in the list, so "*" leaves
// it.
func (rn *Runner) cmdDropIndexes(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	if err := payload.CheckName(name); err != nil {
		return nil, err
	}
	c := rn.db.Collection(name)
	xs, err := c.Indexes(ctx)
	if err != nil {
		return nil, err
	}
	names, err := droppedNames(value.Get(cmd, "index"), xs)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if err := c.DropIndex(ctx, n); err != nil {
			return nil, err
		}
	}
	return bson.D{{Key: "nIndexesWas", Value: int32(len(xs) + 1)}}, nil
}

// droppedNames reads which indexes of xs a dropIndexes means: a name, several, keys, or
// "*". A name need not be in xs: whoever drops it says that there is none. Keys must be the
// same in the same order, and mean one index; several can have them, with different
// filters, and then a name is needed.
func droppedNames(v value.Value, xs []db.Index) (names []string, err error) {
	switch {
	case v.Type == bson.TypeString && string(v.Str()) == "*":
		for _, x := range xs {
			names = append(names, x.Name)
		}
		return names, nil
	case v.Type == bson.TypeString:
		return []string{string(v.Str())}, nil
	case v.IsArray():
		it := value.Elements(v.Data)
		for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
			n, err := keyspace.StringOption("index", e)
			if err != nil {
				return nil, err
			}
			names = append(names, n)
		}
		return names, nil
	case v.IsDoc():
		keys, err := keyspace.ParseIndexKeys(v.Data)
		if err != nil {
			return nil, err
		}
		for _, x := range xs {
			if slices.EqualFunc(x.Keys, keys, func(a, b db.IndexKey) bool { return a.Path == b.Path && a.Desc == b.Desc && a.Text == b.Text }) {
				names = append(names, x.Name)
			}
		}
		if len(names) == 0 {
			return nil, fault.Of(keyspace.ErrNoIndex, "can't find index with key: %s", value.AppendJSON(nil, v.Data, false))
		}
		if len(names) > 1 {
			return nil, fault.Errorf(fault.BadValue, "several indexes have these keys: name one")
		}
		return names, nil
	}
	return nil, fault.Errorf(fault.TypeMismatch, "dropIndexes needs the name of an index, several, keys, or \"*\"")
}
