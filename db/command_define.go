package db

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

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
