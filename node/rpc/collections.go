package rpc

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/db"
)

// indexOf reads an index from its message; keys are {field: 1 or -1, …}. The message has
// what the command line can ask for: sparse, partial, text and expiring indexes are made by
// the command createIndexes. The numbers may be doubles, as shells write them.
func indexOf(m *weftv1.Index) (db.Index, error) {
	x := db.Index{Name: m.GetName(), Unique: m.GetUnique()}
	fields, err := rawDocument("index keys", m.GetKeys())
	if err != nil {
		return x, err
	}
	elements, err := orEmpty(fields).Elements()
	if err != nil {
		return x, fault.Of(node.ErrInvalid, "invalid index keys: %v", err)
	}
	for _, e := range elements {
		d, ok := e.Value().AsInt64OK()
		if !ok || d != 1 && d != -1 {
			return x, fault.Of(node.ErrInvalid, "invalid direction of index field %q: want 1 or -1", e.Key())
		}
		x.Keys = append(x.Keys, db.IndexKey{Path: e.Key(), Desc: d == -1})
	}
	return x, nil
}

// indexMessage is the inverse of indexOf for the indexes that it reads. Of others it tells
// what the message has room for; the command listIndexes tells the rest.
func indexMessage(x db.Index) (*weftv1.Index, error) {
	fields := bson.D{}
	for _, k := range x.Keys {
		d := int32(1)
		if k.Desc {
			d = -1
		}
		fields = append(fields, bson.E{Key: k.Path, Value: d})
	}
	b, err := bson.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", x.Name, err)
	}
	return &weftv1.Index{Name: x.Name, Keys: b, Unique: x.Unique}, nil
}

func indexMessages(all []db.Index) ([]*weftv1.Index, error) {
	var out []*weftv1.Index
	for _, x := range all {
		m, err := indexMessage(x)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// CreateCollection reads all indexes before it opens the database, so a wrong one leaves
// nothing behind. Schema and indexes are defined in one operation.
func (s documentService) CreateCollection(ctx context.Context, r *connect.Request[weftv1.CreateCollectionRequest]) (*connect.Response[weftv1.CreateCollectionResponse], error) {
	m := r.Msg.GetCollection()
	schema, err := rawDocument("schema", m.GetSchema())
	if err != nil {
		return nil, err
	}
	o := db.CollectionOptions{Schema: schema}
	for _, im := range m.GetIndexes() {
		x, err := indexOf(im)
		if err != nil {
			return nil, err
		}
		o.Indexes = append(o.Indexes, x)
	}
	d, err := space(ctx, s.n).Database(ctx, r.Msg.GetDatabase())
	if err != nil {
		return nil, err
	}
	if err := d.CreateCollection(ctx, m.GetName(), o); err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.CreateCollectionResponse{}), nil
}

// ListCollections lists no system collections, which the database leaves out: a program
// that copies what is listed must not copy them.
func (s documentService) ListCollections(ctx context.Context, r *connect.Request[weftv1.ListCollectionsRequest]) (*connect.Response[weftv1.ListCollectionsResponse], error) {
	d, err := space(ctx, s.n).Database(ctx, r.Msg.GetDatabase())
	if err != nil {
		return nil, err
	}
	infos, err := d.Collections(ctx)
	if err != nil {
		return nil, err
	}
	var out weftv1.ListCollectionsResponse
	for _, info := range infos {
		c := &weftv1.Collection{Name: info.Name, Schema: info.Schema, Documents: info.Documents}
		if c.Indexes, err = indexMessages(info.Indexes); err != nil {
			return nil, err
		}
		out.Collections = append(out.Collections, c)
	}
	return connect.NewResponse(&out), nil
}

// CreateIndex answers when the index covers all documents, readers and writers going on
// meanwhile. One that is there already is no error.
func (s documentService) CreateIndex(ctx context.Context, r *connect.Request[weftv1.CreateIndexRequest]) (*connect.Response[weftv1.CreateIndexResponse], error) {
	x, err := indexOf(r.Msg.GetIndex())
	if err != nil {
		return nil, err
	}
	c, err := s.collection(ctx, r.Msg.GetDatabase(), r.Msg.GetCollection())
	if err != nil {
		return nil, err
	}
	name, err := c.CreateIndex(ctx, x)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.CreateIndexResponse{Name: name}), nil
}

// ListIndexes lists those that are defined. The one on _id, which nothing stores, is not
// among them.
func (s documentService) ListIndexes(ctx context.Context, r *connect.Request[weftv1.ListIndexesRequest]) (*connect.Response[weftv1.ListIndexesResponse], error) {
	c, err := s.collection(ctx, r.Msg.GetDatabase(), r.Msg.GetCollection())
	if err != nil {
		return nil, err
	}
	all, err := c.Indexes(ctx)
	if err != nil {
		return nil, err
	}
	var out weftv1.ListIndexesResponse
	if out.Indexes, err = indexMessages(all); err != nil {
		return nil, err
	}
	return connect.NewResponse(&out), nil
}
