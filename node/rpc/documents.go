package rpc

import (
	"context"
	"errors"
	"strings"

	"connectrpc.com/connect"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// findPage is how many bytes of documents one message of Find has.
const findPage = 256 << 10

func (s documentService) collection(ctx context.Context, database, name string) (*db.Collection, error) {
	d, err := s.n.Database(ctx, database)
	if err != nil {
		return nil, err
	}
	return d.Collection(name), nil
}

// Run runs one command document.
func (s documentService) Run(ctx context.Context, r *connect.Request[weftv1.RunRequest]) (*connect.Response[weftv1.RunResponse], error) {
	command, err := rawDocument("command", r.Msg.GetCommand())
	if err != nil {
		return nil, err
	}
	reply, err := s.n.RunCommand(ctx, r.Msg.GetDatabase(), orEmpty(command))
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.RunResponse{Reply: reply}), nil
}

func findOptions(m *weftv1.FindRequest) (o db.FindOptions, err error) {
	if o.Filter, err = rawDocument("filter", m.GetFilter()); err != nil {
		return o, err
	}
	if o.Sort, err = rawDocument("sort", m.GetSort()); err != nil {
		return o, err
	}
	if o.Projection, err = rawDocument("projection", m.GetProjection()); err != nil {
		return o, err
	}
	if o.Skip, o.Limit = m.GetSkip(), m.GetLimit(); o.Skip < 0 || o.Limit < 0 {
		return o, fault.Of(node.ErrInvalid, "skip and limit cannot be negative")
	}
	return o, nil
}

func (s documentService) Find(ctx context.Context, r *connect.Request[weftv1.FindRequest], out *connect.ServerStream[weftv1.FindResponse]) error {
	o, err := findOptions(r.Msg)
	if err != nil {
		return err
	}
	c, err := s.collection(ctx, r.Msg.GetDatabase(), r.Msg.GetCollection())
	if err != nil {
		return err
	}
	cur, err := c.Find(ctx, o)
	if err != nil {
		return err
	}
	defer cur.Close()
	page, size := &weftv1.FindResponse{}, 0
	for cur.Next() {
		doc := append([]byte(nil), cur.Raw()...)
		page.Documents, size = append(page.Documents, doc), size+len(doc)
		if size >= findPage {
			if err := out.Send(page); err != nil {
				return err
			}
			page, size = &weftv1.FindResponse{}, 0
		}
	}
	if err := cur.Err(); err != nil {
		return err
	}
	return out.Send(page)
}

func rawDocuments(in [][]byte) ([]bson.Raw, error) {
	docs := make([]bson.Raw, len(in))
	for i, b := range in {
		var err error
		if docs[i], err = rawDocument("document", b); err != nil {
			return nil, err
		}
		docs[i] = orEmpty(docs[i])
	}
	return docs, nil
}

func (s documentService) Insert(ctx context.Context, r *connect.Request[weftv1.InsertRequest]) (*connect.Response[weftv1.InsertResponse], error) {
	docs, err := rawDocuments(r.Msg.GetDocuments())
	if err != nil {
		return nil, err
	}
	c, err := s.collection(ctx, r.Msg.GetDatabase(), r.Msg.GetCollection())
	if err != nil {
		return nil, err
	}
	ids, err := c.Insert(ctx, docs...)
	if err != nil {
		return nil, tellPlace(err, len(docs))
	}
	var out weftv1.InsertResponse
	for _, id := range ids {
		b, err := idDocument(id)
		if err != nil {
			return nil, err
		}
		out.Ids = append(out.Ids, b)
	}
	return connect.NewResponse(&out), nil
}

// tellPlace adds to the error of an insert of n documents which of them it is, as
// those before it stay.
func tellPlace(err error, n int) error {
	var w *db.WriteError
	if n < 2 || !errors.As(err, &w) {
		return err
	}
	return fault.Of(err, "document %d of %d: %w; those before it were inserted, those after it were not", w.Index+1, n, err)
}

// firstKey returns the first key of a document, "" for none.
func firstKey(d bson.Raw) string {
	if e, err := d.IndexErr(0); err == nil {
		return e.Key()
	}
	return ""
}

func (s documentService) Update(ctx context.Context, r *connect.Request[weftv1.UpdateRequest]) (*connect.Response[weftv1.UpdateResponse], error) {
	filter, err := rawDocument("filter", r.Msg.GetFilter())
	if err != nil {
		return nil, err
	}
	update, err := rawDocument("update", r.Msg.GetUpdate())
	if err != nil {
		return nil, err
	}
	c, err := s.collection(ctx, r.Msg.GetDatabase(), r.Msg.GetCollection())
	if err != nil {
		return nil, err
	}
	if !r.Msg.GetReplace() && !strings.HasPrefix(firstKey(update), "$") {
		return nil, fault.Of(node.ErrInvalid, "an update needs operators, such as {\"$set\": …}; to put a document in another's place, use replace")
	}
	act := c.Update
	if r.Msg.GetReplace() {
		act = c.Replace
	}
	res, err := act(ctx, orEmpty(filter), orEmpty(update), db.UpdateOptions{Many: r.Msg.GetMulti(), Upsert: r.Msg.GetUpsert()})
	if err != nil {
		return nil, err
	}
	id, err := idDocument(res.UpsertedID)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.UpdateResponse{Matched: res.Matched, Modified: res.Modified, Upserted: id}), nil
}

func (s documentService) Delete(ctx context.Context, r *connect.Request[weftv1.DeleteRequest]) (*connect.Response[weftv1.DeleteResponse], error) {
	filter, err := rawDocument("filter", r.Msg.GetFilter())
	if err != nil {
		return nil, err
	}
	c, err := s.collection(ctx, r.Msg.GetDatabase(), r.Msg.GetCollection())
	if err != nil {
		return nil, err
	}
	deleted, err := c.Delete(ctx, orEmpty(filter), r.Msg.GetMulti())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.DeleteResponse{Deleted: deleted}), nil
}

func (s documentService) Count(ctx context.Context, r *connect.Request[weftv1.CountRequest]) (*connect.Response[weftv1.CountResponse], error) {
	filter, err := rawDocument("filter", r.Msg.GetFilter())
	if err != nil {
		return nil, err
	}
	c, err := s.collection(ctx, r.Msg.GetDatabase(), r.Msg.GetCollection())
	if err != nil {
		return nil, err
	}
	count, err := c.Count(ctx, orEmpty(filter))
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.CountResponse{Count: count}), nil
}

func (s documentService) Watch(ctx context.Context, r *connect.Request[weftv1.WatchRequest], out *connect.ServerStream[weftv1.WatchResponse]) error {
	filter, err := rawDocument("filter", r.Msg.GetFilter())
	if err != nil {
		return err
	}
	d, err := s.n.Database(ctx, r.Msg.GetDatabase())
	if err != nil {
		return err
	}
	o := db.WatchOptions{Filter: filter, ResumeAfter: r.Msg.GetResumeAfter(), Operations: r.Msg.GetOperations()}
	one, err := rawDocument("id", r.Msg.GetId())
	if err != nil {
		return err
	}
	if one != nil {
		o.ID = one.Lookup("_id")
	}
	if c := r.Msg.GetCollection(); c != "" {
		o.Collections = []string{c}
	}
	w, err := d.Watch(ctx, o)
	if err != nil {
		return err
	}
	defer w.Close()
	if err := out.Send(&weftv1.WatchResponse{}); err != nil {
		return err
	}
	for {
		c, err := w.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return s.n.Err()
			}
			return err
		}
		id, err := idDocument(c.ID)
		if err != nil {
			return err
		}
		err = out.Send(&weftv1.WatchResponse{
			Operation: c.Operation, Collection: c.Collection, Id: id, After: c.After, Before: c.Before,
			Remote: c.Remote, Time: stamp(c.Time), Token: c.Token, Late: c.Late, Current: c.Current, Log: logText(c.Log), Seq: c.Seq,
		})
		if err != nil {
			return err
		}
	}
}

// logText returns a log in hexadecimal, "" for none.
func logText(id clock.LogID) string {
	if id == (clock.LogID{}) {
		return ""
	}
	return id.String()
}

func (s documentService) Refused(ctx context.Context, r *connect.Request[weftv1.RefusedRequest], out *connect.ServerStream[weftv1.RefusedResponse]) error {
	d, err := s.n.Database(ctx, r.Msg.GetDatabase())
	if err != nil {
		return err
	}
	for x, err := range d.Refused(ctx, db.RefusedOptions{}) {
		if err != nil {
			return err
		}
		id, err := idDocument(x.ID)
		if err != nil {
			return err
		}
		err = out.Send(&weftv1.RefusedResponse{
			Collection: x.Collection, Id: id, Operation: x.Operation, Reason: string(x.Reason), Message: x.Message,
			Log: x.Stamp.Log.String(), Seq: x.Seq, Time: stamp(x.Stamp.Time.Wall()),
		})
		if err != nil {
			return err
		}
	}
	return nil
}
