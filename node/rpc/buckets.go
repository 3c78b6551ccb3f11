package rpc

import (
	"cmp"
	"context"
	"errors"
	"io"
	"strings"

	"connectrpc.com/connect"

	"github.com/weftdb/weft/buckets"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
	"github.com/weftdb/weft/node/internal/chunks"
)

// streamChunk is the most bytes of a file in one message. A writer may give more at once,
// and one message must stay below maxMessage.
const streamChunk = 256 << 10

// Create makes a database for the bucket if none is named; one that has the bucket's name
// already is used.
func (s bucketService) Create(ctx context.Context, r *connect.Request[weftv1.CreateBucketRequest]) (*connect.Response[weftv1.CreateBucketResponse], error) {
	if r.Msg.GetDatabase() == "" { // it may have to be made
		if err := may(ctx, keys.ActionCreate); err != nil {
			return nil, err
		}
	}
	_, ref, err := space(ctx, s.n).CreateBucket(ctx, r.Msg.GetName(), r.Msg.GetDatabase())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.CreateBucketResponse{Bucket: &weftv1.Bucket{Name: ref.Name, Database: ref.Database}}), nil
}

func (s bucketService) List(ctx context.Context, _ *connect.Request[weftv1.ListBucketsRequest]) (*connect.Response[weftv1.ListBucketsResponse], error) {
	all, err := space(ctx, s.n).Buckets(ctx)
	if err != nil {
		return nil, err
	}
	var out weftv1.ListBucketsResponse
	for _, ref := range all {
		out.Buckets = append(out.Buckets, &weftv1.Bucket{Name: ref.Name, Database: ref.Database})
	}
	return connect.NewResponse(&out), nil
}

// Entries answers in one message, which does for what a person lists. Pull with list
// streams the same.
func (s bucketService) Entries(ctx context.Context, r *connect.Request[weftv1.BucketEntriesRequest]) (*connect.Response[weftv1.BucketEntriesResponse], error) {
	b, err := space(ctx, s.n).Bucket(ctx, r.Msg.GetBucket())
	if err != nil {
		return nil, err
	}
	var out weftv1.BucketEntriesResponse
	for e, err := range b.List(ctx, r.Msg.GetPrefix()) {
		if err != nil {
			return nil, err
		}
		m := &weftv1.BucketEntry{Path: e.Path, Cid: e.CID.String(), Size: e.Size}
		for _, c := range e.Conflicts {
			m.Conflicts = append(m.Conflicts, c.CID.String())
		}
		out.Entries = append(out.Entries, m)
	}
	return connect.NewResponse(&out), nil
}

// Remove stops at the first path that cannot be removed; those before it are gone.
func (s bucketService) Remove(ctx context.Context, r *connect.Request[weftv1.RemoveFilesRequest]) (*connect.Response[weftv1.RemoveFilesResponse], error) {
	b, err := space(ctx, s.n).Bucket(ctx, r.Msg.GetBucket())
	if err != nil {
		return nil, err
	}
	var out weftv1.RemoveFilesResponse
	for _, path := range r.Msg.GetPaths() {
		n := 1
		if strings.HasSuffix(path, "/") {
			n, err = b.RemoveAll(ctx, path)
		} else {
			err = b.Remove(ctx, path)
		}
		if err != nil {
			return nil, err
		}
		out.Removed += int64(n)
	}
	return connect.NewResponse(&out), nil
}

func (s bucketService) Drop(ctx context.Context, r *connect.Request[weftv1.DropBucketRequest]) (*connect.Response[weftv1.DropBucketResponse], error) {
	if err := space(ctx, s.n).DropBucket(ctx, r.Msg.GetBucket()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.DropBucketResponse{}), nil
}

// noteMessages replaces bytes that are no UTF-8: a path comes from a file system, which has
// no such rule, and one that proto3 refuses would make the whole answer an error.
func noteMessages(notes []buckets.Note) []*weftv1.BucketNote {
	var out []*weftv1.BucketNote
	for _, x := range notes {
		out = append(out, &weftv1.BucketNote{Path: strings.ToValidUTF8(x.Path, "\uFFFD"), Reason: strings.ToValidUTF8(x.Reason, "\uFFFD")})
	}
	return out
}

// Root derives the CID of the whole bucket from its entries as they are now; two replicas
// that hold the same entries give the same.
func (s bucketService) Root(ctx context.Context, r *connect.Request[weftv1.BucketRootRequest]) (*connect.Response[weftv1.BucketRootResponse], error) {
	b, err := space(ctx, s.n).Bucket(ctx, r.Msg.GetBucket())
	if err != nil {
		return nil, err
	}
	o, err := b.Overview(ctx)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.BucketRootResponse{
		Cid: o.Root.String(), Files: int64(o.Files), Bytes: o.Bytes, Conflicts: noteMessages(o.Conflicts),
	}), nil
}

// Push takes files as they come: nothing lies between the stream and the blobs. The first
// message names the bucket and may have files already. On an error the push is aborted:
// files that were written before it stay, but nothing is removed, as it is not known what
// the folder has.
func (s bucketService) Push(ctx context.Context, in *connect.ClientStream[weftv1.PushRequest]) (*connect.Response[weftv1.PushResponse], error) {
	if !in.Receive() {
		return nil, errors.Join(in.Err(), fault.Of(node.ErrInvalid, "missing bucket of the push"))
	}
	b, err := space(ctx, s.n).Bucket(ctx, in.Msg().GetBucket())
	if err != nil {
		return nil, err
	}
	p := b.Pusher(buckets.PushOptions{Remove: in.Msg().GetRemove()})
	if err := receiveFiles(ctx, in, p); err != nil {
		return nil, cmp.Or(err, p.Abort())
	}
	rep, err := p.Close(ctx)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.PushResponse{
		Root: rep.Root.String(), Added: int64(rep.Added), Changed: int64(rep.Changed), Unchanged: int64(rep.Unchanged),
		Removed: int64(rep.Removed), Bytes: rep.Bytes, Skipped: noteMessages(rep.Skipped),
	}), nil
}

// receiveFiles gives the files of a push to p. The reader's first message is the one that
// Push has received. A body that Take does not read to its end, as of a file that it skips,
// is passed over by Next.
func receiveFiles(ctx context.Context, in *connect.ClientStream[weftv1.PushRequest], p *buckets.Pusher) error {
	first := true
	r := chunks.NewReader(func() ([]*weftv1.FileChunk, error) {
		if !first && !in.Receive() {
			return nil, cmp.Or(in.Err(), io.EOF)
		}
		first = false
		return in.Msg().GetFiles(), nil
	})
	for {
		c, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.Take(ctx, buckets.File{Path: c.GetPath(), Size: c.GetSize(), Body: r, Reason: c.GetReason()}); err != nil {
			return err
		}
		// A stream that broke off is no file that cannot be read.
		if err := in.Err(); err != nil {
			return err
		}
	}
}

// Cat sends a range of one file. Every byte was compared with the file's CID before it is
// sent; an error after some of them says that the file is not whole.
func (s bucketService) Cat(ctx context.Context, r *connect.Request[weftv1.CatRequest], out *connect.ServerStream[weftv1.CatResponse]) error {
	b, err := space(ctx, s.n).Bucket(ctx, r.Msg.GetBucket())
	if err != nil {
		return err
	}
	w := sender(func(p []byte) error { return out.Send(&weftv1.CatResponse{Data: p}) })
	return b.Cat(ctx, r.Msg.GetPath(), w, buckets.Range{Offset: r.Msg.GetOffset(), Length: r.Msg.GetLength()})
}

// A sender is a writer of messages. It divides what is written into messages that are not too
// large. send must not keep its argument: the caller of Write may use the bytes again.
type sender func(p []byte) error

func (send sender) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		part := p[n:min(n+streamChunk, len(p))]
		if err := send(part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return len(p), nil
}

// Pull sends files, or a list of them, as they are now. Entries are read in pages, with no
// view of the database held while a slow caller takes them, so a file that changes during
// the call comes as it is when its turn is. What is buffered is sent after an error too, so
// that the files before it arrive.
func (s bucketService) Pull(ctx context.Context, r *connect.Request[weftv1.PullRequest], out *connect.ServerStream[weftv1.PullResponse]) error {
	b, err := space(ctx, s.n).Bucket(ctx, r.Msg.GetBucket())
	if err != nil {
		return err
	}
	w := chunks.NewWriter(func(files []*weftv1.FileChunk) error { return out.Send(&weftv1.PullResponse{Files: files}) })
	if paths := r.Msg.GetPaths(); len(paths) > 0 {
		err = sendFiles(ctx, b, paths, w)
	} else {
		err = b.Entries(ctx, func(page []buckets.Entry, left []buckets.Note) error {
			return sendPage(ctx, b, page, left, r.Msg.GetList(), w)
		})
	}
	return errors.Join(err, w.Flush())
}

func fileChunk(e buckets.Entry) *weftv1.FileChunk {
	return &weftv1.FileChunk{Path: e.Path, Size: e.Size, Cid: e.CID.String()}
}

// sendPage sends a page of entries, with their bytes unless it is a list. Directories that
// are empty, and entries that cannot be a file in a folder, have no bytes: they come first,
// and the files of the page after them.
func sendPage(ctx context.Context, b *buckets.Bucket, page []buckets.Entry, left []buckets.Note, list bool, w *chunks.Writer) error {
	var paths []string
	for _, e := range page {
		if !list && !strings.HasSuffix(e.Path, "/") {
			paths = append(paths, e.Path)
		} else if err := w.Begin(fileChunk(e)); err != nil {
			return err
		}
	}
	for _, x := range left {
		if err := w.Begin(&weftv1.FileChunk{Path: strings.ToValidUTF8(x.Path, "\uFFFD"), Reason: x.Reason}); err != nil {
			return err
		}
	}
	return sendFiles(ctx, b, paths, w)
}

// sendFiles sends the files at these paths with their bytes. Paths that are gone by now, or
// are directories, are passed over.
func sendFiles(ctx context.Context, b *buckets.Bucket, paths []string, w *chunks.Writer) error {
	return b.Read(ctx, paths, func(e buckets.Entry, body func(io.Writer) error) error {
		if err := w.Begin(fileChunk(e)); err != nil {
			return err
		}
		return body(w)
	})
}
