package command

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// cmdListCollections is {listCollections, filter, nameOnly}, in one batch. The filter sees
// each document as it is told, as in MongoDB, so with nameOnly it can only ask for name and
// type.
func (rn *Runner) cmdListCollections(ctx context.Context, _ string, cmd bson.Raw) (bson.D, error) {
	filter, err := query.Compile(value.OrEmpty(sub(cmd, "filter")))
	if err != nil {
		return nil, err
	}
	filter = filter.At(rn.db.Now())
	cs, err := rn.db.Collections(ctx)
	if err != nil {
		return nil, err
	}
	docs := bson.A{}
	for _, c := range cs {
		info := bson.D{{Key: "readOnly", Value: false}, {Key: "version", Value: c.Version}}
		if c.Migrating {
			info = append(info, bson.E{Key: "migrating", Value: true})
		}
		d := bson.D{{Key: "name", Value: c.Name}, {Key: "type", Value: "collection"}}
		if !flag(cmd, "nameOnly", false) {
			d = append(d, bson.E{Key: "options", Value: optionsDoc(&c)}, bson.E{Key: "info", Value: info})
		}
		b, err := bson.Marshal(d)
		if err != nil {
			return nil, err
		}
		ok, err := filter.Test(b)
		if err != nil {
			return nil, err
		}
		if ok {
			docs = append(docs, bson.Raw(b))
		}
	}
	return rn.oneBatch("$cmd.listCollections", docs), nil
}

// oneBatch is the reply of a command whose result is always whole: a cursor that has ended,
// which is what drivers iterate over.
func (rn *Runner) oneBatch(ns string, docs bson.A) bson.D {
	return bson.D{{Key: "cursor", Value: bson.D{{Key: "firstBatch", Value: docs}, {Key: "id", Value: int64(0)}, {Key: "ns", Value: rn.namespace(ns)}}}}
}

// cmdCreate is {create, validator, validationLevel, validationAction, rules, …}. A
// collection need not be created: the first insert defines it. This is for a schema or
// rules from the start, and is an error if it is there.
func (rn *Runner) cmdCreate(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	c, err := changeOf(cmd)
	if err != nil {
		return nil, err
	}
	o := db.CollectionOptions{Schema: c.Schema, Level: c.Level, Action: c.Action}
	if c.Formats != nil {
		o.Formats = *c.Formats
	}
	if c.Rules != nil {
		o.Rules = *c.Rules
	}
	return nil, rn.db.CreateCollection(ctx, name, o)
}

func (rn *Runner) cmdDrop(ctx context.Context, name string, _ bson.Raw) (bson.D, error) {
	return bson.D{{Key: "ns", Value: rn.namespace(name)}}, rn.db.DropCollection(ctx, name)
}

// mustBeDefined returns ErrNotFound for a collection without a definition. MongoDB has
// NamespaceNotFound for commands that ask about a collection, while those that read its
// documents find none.
func (rn *Runner) mustBeDefined(ctx context.Context, name string) error {
	defined, err := rn.db.Collection(name).Defined(ctx)
	if err == nil && !defined {
		err = fault.Of(db.ErrNotFound, "collection %s does not exist", name)
	}
	return err
}
