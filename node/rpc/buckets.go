package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"connectrpc.com/connect"

	"github.com/weftdb/weft/buckets"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
)

// streamChunk is the most bytes of a file in one message.
const streamChunk = 256 << 10

func (s bucketService) Create(ctx context.Context, r *connect.Request[weftv1.CreateBucketRequest]) (*connect.Response[weftv1.CreateBucketResponse], error) {
	_, ref, err := s.n.CreateBucket(ctx, r.Msg.GetName(), r.Msg.GetDatabase())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.CreateBucketResponse{Bucket: &weftv1.Bucket{Name: ref.Name, Database: ref.Database}}), nil
}

func (s bucketService) List(ctx context.Context, _ *connect.Request[weftv1.ListBucketsRequest]) (*connect.Response[weftv1.ListBucketsResponse], error) {
	all, err := s.n.Buckets(ctx)
	if err != nil {
		return nil, err
	}
	var out weftv1.ListBucketsResponse
	for _, ref := range all {
		out.Buckets = append(out.Buckets, &weftv1.Bucket{Name: ref.Name, Database: ref.Database})
	}
	return connect.NewResponse(&out), nil
}

func (s bucketService) Entries(ctx context.Context, r *connect.Request[weftv1.BucketEntriesRequest]) (*connect.Response[weftv1.BucketEntriesResponse], error) {
	b, err := s.n.Bucket(ctx, r.Msg.GetBucket())
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

func noteMessages(notes []buckets.Note) []*weftv1.BucketNote {
	var out []*weftv1.BucketNote
	for _, x := range notes {
		out = append(out, &weftv1.BucketNote{Path: x.Path, Reason: x.Reason})
	}
	return out
}

func (s bucketService) Root(ctx context.Context, r *connect.Request[weftv1.BucketRootRequest]) (*connect.Response[weftv1.BucketRootResponse], error) {
	b, err := s.n.Bucket(ctx, r.Msg.GetBucket())
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

// Push gathers the folder under the home before it is pushed, so that one walk
// in the bucket's own order does it.
func (s bucketService) Push(ctx context.Context, in *connect.ClientStream[weftv1.PushRequest]) (*connect.Response[weftv1.PushResponse], error) {
	if !in.Receive() {
		return nil, errors.Join(in.Err(), fault.Of(node.ErrInvalid, "missing bucket of the push"))
	}
	b, err := s.n.Bucket(ctx, in.Msg().GetBucket())
	if err != nil {
		return nil, err
	}
	o := buckets.PushOptions{Remove: in.Msg().GetRemove()}
	dir, err := s.n.TempDir()
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := receiveFolder(in, dir); err != nil {
		return nil, err
	}
	rep, err := b.PushDir(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.PushResponse{
		Root: rep.Root.String(), Added: int64(rep.Added), Changed: int64(rep.Changed), Unchanged: int64(rep.Unchanged),
		Removed: int64(rep.Removed), Bytes: rep.Bytes, Skipped: noteMessages(rep.Skipped),
	}), nil
}

// receiveFolder writes the files of a push under dir, and nowhere else.
func receiveFolder(in *connect.ClientStream[weftv1.PushRequest], dir string) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("push: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	var f *os.File
	defer func() {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	for more := true; more; more = in.Receive() {
		if name := in.Msg().GetPath(); name != "" {
			if f != nil {
				if err := f.Close(); err != nil {
					return fmt.Errorf("push: %w", err)
				}
			}
			if f, err = createIn(root, name); err != nil {
				return err
			}
		}
		data := in.Msg().GetData()
		if len(data) == 0 {
			continue
		}
		if f == nil {
			return fault.Of(node.ErrInvalid, "data before the name of a file")
		}
		if _, err := f.Write(data); err != nil {
			return fmt.Errorf("push: %w", err)
		}
	}
	return in.Err()
}

// createIn creates one file, or for "a/b/" one directory, which gives nil.
func createIn(root *os.Root, name string) (*os.File, error) {
	if err := buckets.CheckPath(name); err != nil {
		return nil, err
	}
	if dir, ok := strings.CutSuffix(name, "/"); ok {
		return nil, root.MkdirAll(dir, 0o700)
	}
	if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return nil, fmt.Errorf("push: %w", err)
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("push: %w", err)
	}
	return f, nil
}

func (s bucketService) Cat(ctx context.Context, r *connect.Request[weftv1.CatRequest], out *connect.ServerStream[weftv1.CatResponse]) error {
	b, err := s.n.Bucket(ctx, r.Msg.GetBucket())
	if err != nil {
		return err
	}
	w := sender(func(p []byte) error { return out.Send(&weftv1.CatResponse{Data: p}) })
	return b.Cat(ctx, r.Msg.GetPath(), w, buckets.Range{Offset: r.Msg.GetOffset(), Length: r.Msg.GetLength()})
}

// A sender is a writer of messages.
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

// Pull gathers the bucket under the home and sends it from there: whole, checked
// files in the order of their paths.
func (s bucketService) Pull(ctx context.Context, r *connect.Request[weftv1.PullRequest], out *connect.ServerStream[weftv1.PullResponse]) error {
	b, err := s.n.Bucket(ctx, r.Msg.GetBucket())
	if err != nil {
		return err
	}
	dir, err := s.n.TempDir()
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	rep, err := b.PullDir(ctx, dir, buckets.PullOptions{})
	if err != nil {
		return err
	}
	if len(rep.Skipped) > 0 {
		return fault.Errorf(fault.InvalidPath, "cannot pull %s: %s", rep.Skipped[0].Path, rep.Skipped[0].Reason)
	}
	return sendFolder(ctx, os.DirFS(dir), out)
}

func sendFolder(ctx context.Context, fsys fs.FS, out *connect.ServerStream[weftv1.PullResponse]) error {
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if d.IsDir() {
			if name == "." {
				return nil
			}
			return out.Send(&weftv1.PullResponse{Path: name + "/"})
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if err := out.Send(&weftv1.PullResponse{Path: name, Size: info.Size()}); err != nil {
			return err
		}
		f, err := fsys.Open(name)
		if err != nil {
			return err
		}
		w := sender(func(p []byte) error { return out.Send(&weftv1.PullResponse{Data: p}) })
		_, err = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{f}, make([]byte, streamChunk))
		return errors.Join(err, f.Close())
	})
}
