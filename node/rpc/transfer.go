package rpc

import (
	"context"
	"errors"
	"strings"

	"connectrpc.com/connect"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/node/transfer"
)

// Import writes what the stream holds, and answers with what it did also when documents
// ended it early. The writer is closed whatever happened, because it has batches under way:
// what the report counts is durable. Where the writer has ended the import the report says
// why, and what the stream had after that does not matter. An error of the stream, or of a
// message, has no report.
func (s documentService) Import(ctx context.Context, in *connect.ClientStream[weftv1.ImportRequest]) (*connect.Response[weftv1.ImportResponse], error) {
	if !in.Receive() {
		return nil, errors.Join(in.Err(), fault.Of(node.ErrInvalid, "missing database of the import"))
	}
	m := in.Msg()
	way, err := transfer.ParseDuplicates(m.GetOnDuplicate())
	if err != nil {
		return nil, err
	}
	d, err := space(ctx, s.n).Database(ctx, m.GetDatabase())
	if err != nil {
		return nil, err
	}
	w := transfer.NewWriter(ctx, d, transfer.WriterOptions{Duplicates: way, GoOn: m.GetGoOn(), MaxFailures: int64(m.GetMaxFailures())})
	var line uint64
	for more := true; more && !w.Stopped(); more = in.Receive() {
		if err = importMessage(w, in.Msg(), &line); err != nil {
			break
		}
	}
	if err == nil && !w.Stopped() {
		err = in.Err()
	}
	report, closed := w.Close()
	if err = errors.Join(err, closed); err != nil {
		return nil, err
	}
	return connect.NewResponse(reportMessage(report)), nil
}

// line is that of the document written last; without numbers of the caller they are counted
// through all messages. Lines that the caller could not read count where they stand. A
// definition without a collection is an error of Use, which compares it with the name.
func importMessage(w *transfer.Writer, m *weftv1.ImportRequest, line *uint64) error {
	definition, err := rawDocument("definition", m.GetDefinition())
	if err != nil {
		return err
	}
	if m.GetCollection() != "" || definition != nil {
		if err := w.Use(m.GetCollection(), definition); err != nil {
			return err
		}
	}
	docs, err := rawDocuments(m.GetDocuments())
	if err != nil {
		return err
	}
	lines := m.GetLines()
	if len(lines) > 0 && len(lines) != len(docs) {
		return fault.Of(node.ErrInvalid, "%d line numbers for %d documents", len(lines), len(docs))
	}
	unread := m.GetUnread()
	for i, doc := range docs {
		if *line++; len(lines) > 0 {
			*line = lines[i]
		}
		for len(unread) > 0 && unread[0].GetLine() < *line {
			if err := w.Write(unreadItem(unread[0])); err != nil {
				return err
			}
			unread = unread[1:]
		}
		if err := w.Write(transfer.Item{Line: *line, Document: doc}); err != nil {
			return err
		}
	}
	for _, f := range unread {
		if err := w.Write(unreadItem(f)); err != nil {
			return err
		}
	}
	return nil
}

// maxUnreadMessage bounds what is kept of a sentence of the caller's.
const maxUnreadMessage = 4 << 10

// unreadItem returns a line that the caller could not read.
func unreadItem(f *weftv1.ImportFailure) transfer.Item {
	message := strings.ToValidUTF8(f.GetMessage()[:min(len(f.GetMessage()), maxUnreadMessage)], "")
	return transfer.Item{
		Line: f.GetLine(), Collection: f.GetCollection(),
		Err: fault.Errorf(fault.Known(f.GetCode(), fault.Malformed), "%s", message),
	}
}

// maxFailureBytes bounds the sentences of a report. It is sent to a caller who may
// not read before he has sent all, so it must fit what an HTTP/2 stream holds.
const maxFailureBytes = 1 << 20

// reportMessage counts all failures and lists those that fit, in the order of their lines.
func reportMessage(r transfer.Report) *weftv1.ImportResponse {
	out := &weftv1.ImportResponse{Inserted: r.Inserted, Replaced: r.Replaced, Skipped: r.Skipped, Failed: r.Failed}
	size := 0
	for _, f := range r.Failures {
		m := &weftv1.ImportFailure{Collection: f.Collection, Line: f.Line, Code: string(fault.KindOf(f.Err)), Message: f.Err.Error()}
		if size += len(m.Collection) + len(m.Message); size > maxFailureBytes {
			break
		}
		out.Failures = append(out.Failures, m)
	}
	if r.Stopped != nil {
		out.Stopped = r.Stopped.Error()
	}
	return out
}

// Export sends collections as they are at one moment. One snapshot is held over all
// collections, so that they belong together; it is let go when the caller leaves. The names
// are taken from it too: a collection that is made meanwhile is not half exported.
func (s documentService) Export(ctx context.Context, r *connect.Request[weftv1.ExportRequest], out *connect.ServerStream[weftv1.ExportResponse]) error {
	d, err := space(ctx, s.n).Database(ctx, r.Msg.GetDatabase())
	if err != nil {
		return err
	}
	snap, err := d.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Close()
	names := []string{r.Msg.GetCollection()}
	if names[0] == "" {
		if names, err = snap.Collections(ctx); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := exportCollection(ctx, snap, name, out); err != nil {
			return err
		}
	}
	return nil
}

// exportCollection sends the definition in the first message, before any document, as
// Import wants it. A collection without a definition, and one without documents, is still
// named by one message. Only the first message has the name: what follows belongs to it.
func exportCollection(ctx context.Context, snap *db.Snapshot, name string, out *connect.ServerStream[weftv1.ExportResponse]) error {
	definition, err := snap.Definition(name)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		return err
	}
	page, size := &weftv1.ExportResponse{Collection: name, Definition: definition}, len(definition)
	for doc, err := range snap.Documents(ctx, name) {
		if err != nil {
			return err
		}
		if size+len(doc) > findPage && size > 0 {
			if err := out.Send(page); err != nil {
				return err
			}
			page, size = &weftv1.ExportResponse{}, 0
		}
		page.Documents, size = append(page.Documents, []byte(doc)), size+len(doc)
	}
	return out.Send(page)
}
