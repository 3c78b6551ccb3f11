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
	"github.com/weftdb/weft/keys"
)

// findPage is how many bytes of documents one message of Find has. It is far below
// maxMessage, so that the first documents come early, one answer holds little memory, and a
// document of the greatest size, 1 MiB, still fits into the message that it makes too long.
const findPage = 256 << 10

// collection finds a collection for a call. Its name is not checked here but by the
// operation on it, which has the kind for a bad one.
func (s documentService) collection(ctx context.Context, database, name string) (*db.Collection, error) {
	d, err := space(ctx, s.n).Database(ctx, database)
	if err != nil {
		return nil, err
	}
	return d.Collection(name), nil
}

// Run runs one command document. A command that fails is a reply with ok: 0, as a driver of
// MongoDB expects; an error of the call says that there is no reply, because the database
// was not found or the call ended. Cursors and transactions that commands leave open belong
// to the node, so they outlive the connection.
func (s documentService) Run(ctx context.Context, r *connect.Request[weftv1.RunRequest]) (*connect.Response[weftv1.RunResponse], error) {
	command, err := rawDocument("command", r.Msg.GetCommand())
	if err != nil {
		return nil, err
	}
	if !reads(orEmpty(command)) {
		if err := may(ctx, keys.ActionWrite); err != nil {
			return nil, err
		}
	}
	reply, told, err := space(ctx, s.n).Run(ctx, r.Msg.GetDatabase(), orEmpty(command))
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.RunResponse{Reply: reply, Code: string(fault.KindOf(told))}), nil
}

// Skip and limit are signed in the message, where a negative number is one that the caller
// got wrong: it is refused instead of being read as none.
func findOptions(m *weftv1.FindRequest) (filter bson.Raw, o db.FindOptions, err error) {
	if filter, err = rawDocument("filter", m.GetFilter()); err != nil {
		return filter, o, err
	}
	if o.Sort, err = rawDocument("sort", m.GetSort()); err != nil {
		return filter, o, err
	}
	if o.Projection, err = rawDocument("projection", m.GetProjection()); err != nil {
		return filter, o, err
	}
	if o.Skip, o.Limit = m.GetSkip(), m.GetLimit(); o.Skip < 0 || o.Limit < 0 {
		return filter, o, fault.Of(node.ErrInvalid, "skip and limit cannot be negative")
	}
	return filter, o, nil
}

// Find streams the result of one moment: writes during the call are not in it. The last
// message may be empty, and there is always one. Documents are copied because the message
// outlives the cursor's position. A stream that ends with an error has given a prefix of the
// result.
func (s documentService) Find(ctx context.Context, r *connect.Request[weftv1.FindRequest], out *connect.ServerStream[weftv1.FindResponse]) error {
	filter, o, err := findOptions(r.Msg)
	if err != nil {
		return err
	}
	c, err := s.collection(ctx, r.Msg.GetDatabase(), r.Msg.GetCollection())
	if err != nil {
		return err
	}
	cur, err := c.Find(ctx, filter, o)
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

// rawDocuments checks documents of a caller, all of them before the first is written. An
// empty field is the empty document, which is one that can be inserted and gets an _id.
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

// Insert writes the documents in order and stops at the first that is refused; those before
// it stay. The error is then all that the caller gets: one that wants to know the _ids runs
// the command insert.
func (s documentService) Insert(ctx context.Context, r *connect.Request[weftv1.InsertRequest]) (*connect.Response[weftv1.InsertResponse], error) {
	docs, err := rawDocuments(r.Msg.GetDocuments())
	if err != nil {
		return nil, err
	}
	c, err := s.collection(ctx, r.Msg.GetDatabase(), r.Msg.GetCollection())
	if err != nil {
		return nil, err
	}
	ids, err := c.Insert(ctx, docs)
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

// Update takes operators, or with replace a whole document. Without that flag a document
// without operators is refused rather than taken for a replacement, because a forgotten
// $set would cost the document. A pipeline goes by Run.
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

// Delete removes the first match, or with multi all of them. An empty filter matches every
// document, so that with multi it empties the collection.
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

// Count without a filter is told from what the database counts anyway, unless some
// documents may have expired or be hidden from this reader.
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

// Watch sends an empty message when it sees what is written, and then the changes. A caller
// that writes after that message is sure to see its own change. One that falls behind is
// served from the journal, and is told gap where that cannot give all; one that was cut off
// goes on by the token of the last change that it has handled.
func (s documentService) Watch(ctx context.Context, r *connect.Request[weftv1.WatchRequest], out *connect.ServerStream[weftv1.WatchResponse]) error {
	filter, err := rawDocument("filter", r.Msg.GetFilter())
	if err != nil {
		return err
	}
	d, err := space(ctx, s.n).Database(ctx, r.Msg.GetDatabase())
	if err != nil {
		return err
	}
	o := db.WatchOptions{Filter: filter, ResumeAfter: r.Msg.GetResumeAfter(), Operations: r.Msg.GetOperations()}
	if o.Image, err = db.ParseImage(r.Msg.GetMatch()); err != nil {
		return err
	}
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

// logText returns a log in hexadecimal, "" for none: a change that no record did is of no
// log.
func logText(id clock.LogID) string {
	if id == (clock.LogID{}) {
		return ""
	}
	return id.String()
}

// Refused sends every refusal in the order of the operations' times, one a message: each is
// read from the journal, so that the memory of the call does not depend on how many there
// are.
func (s documentService) Refused(ctx context.Context, r *connect.Request[weftv1.RefusedRequest], out *connect.ServerStream[weftv1.RefusedResponse]) error {
	d, err := space(ctx, s.n).Database(ctx, r.Msg.GetDatabase())
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
