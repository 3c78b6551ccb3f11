package db

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
)

func (db *DB) cmdListCollections(ctx context.Context, _ string, _ bson.Raw) (bson.D, error) {
	cs, err := db.Collections(ctx)
	if err != nil {
		return nil, err
	}
	docs := bson.A{}
	for _, c := range cs {
		o := bson.D{}
		if c.Schema != nil {
			o = bson.D{{Key: "validator", Value: bson.D{{Key: "$jsonSchema", Value: c.Schema}}}}
		}
		docs = append(docs, bson.D{{Key: "name", Value: c.Name}, {Key: "type", Value: "collection"}, {Key: "options", Value: o}})
	}
	return db.oneBatch("$cmd.listCollections", docs), nil
}

func (db *DB) oneBatch(ns string, docs bson.A) bson.D {
	return bson.D{{Key: "cursor", Value: bson.D{{Key: "firstBatch", Value: docs}, {Key: "id", Value: int64(0)}, {Key: "ns", Value: db.namespace(ns)}}}}
}

func (db *DB) cmdCreate(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	o := CollectionOptions{}
	if v := sub(cmd, "validator"); v != nil {
		if o.Schema = sub(v, "$jsonSchema"); o.Schema == nil {
			return nil, value.Errorf(value.CodeBadValue, "a validator must be {$jsonSchema: {…}}")
		}
	}
	return nil, db.CreateCollection(ctx, name, o)
}

func (db *DB) cmdDrop(ctx context.Context, name string, _ bson.Raw) (bson.D, error) {
	return bson.D{{Key: "ns", Value: db.namespace(name)}}, db.DropCollection(ctx, name)
}

func (db *DB) cmdCreateIndexes(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	specs, err := list(cmd, "indexes")
	if err != nil {
		return nil, err
	}
	before, err := db.Collection(name).Indexes(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range specs {
		x := Index{Name: string(value.Get(s, "name").Str()), Unique: flag(s, "unique", false)}
		if x.Keys, err = parseIndexKeys(sub(s, "key")); err != nil {
			return nil, err
		}
		if _, err := db.Collection(name).CreateIndex(ctx, x); err != nil {
			return nil, err
		}
	}
	after, err := db.Collection(name).Indexes(ctx)
	return bson.D{
		{Key: "numIndexesBefore", Value: int32(len(before) + 1)}, {Key: "numIndexesAfter", Value: int32(len(after) + 1)},
	}, err
}

func (db *DB) cmdListIndexes(ctx context.Context, name string, _ bson.Raw) (bson.D, error) {
	if _, err := db.definition(name); err != nil {
		return nil, err
	}
	xs, err := db.Collection(name).Indexes(ctx)
	if err != nil {
		return nil, err
	}
	docs := bson.A{bson.D{{Key: "v", Value: int32(2)}, {Key: "key", Value: bson.D{{Key: "_id", Value: int32(1)}}}, {Key: "name", Value: "_id_"}}}
	for _, x := range xs {
		docs = append(docs, append(bson.D{{Key: "v", Value: int32(2)}}, indexDoc(x)...))
	}
	return db.oneBatch(name, docs), nil
}

func (db *DB) cmdDropIndexes(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	v := value.Get(cmd, "index")
	var names []string
	if s := string(v.Str()); s != "*" && s != "" {
		names = []string{s}
	} else if s == "*" {
		xs, err := db.Collection(name).Indexes(ctx)
		if err != nil {
			return nil, err
		}
		for _, x := range xs {
			names = append(names, x.Name)
		}
	} else {
		return nil, value.Errorf(value.CodeTypeMismatch, "dropIndexes needs the name of an index, or *")
	}
	if err := payload.CheckName(name); err != nil {
		return nil, err
	}
	for _, n := range names {
		if err := db.Collection(name).DropIndex(ctx, n); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
