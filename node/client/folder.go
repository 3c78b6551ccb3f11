package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"connectrpc.com/connect"
	"github.com/ipfs/go-cid"

	"github.com/weftdb/weft/buckets"
	"github.com/weftdb/weft/internal/fault"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
	"github.com/weftdb/weft/node/internal/chunks"
)

// OpenDir opens a folder that is to be pushed.
func OpenDir(dir string) (*os.Root, error) { return buckets.OpenDir(dir) }

// Push makes a bucket hold the files of a folder; with remove, none but these.
// What is read is written to progress too.
func (c *Client) Push(ctx context.Context, bucket string, fsys fs.FS, remove bool, progress io.Writer) (*weftv1.PushResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream := c.Buckets.Push(ctx)
	p := pusher{w: chunks.NewWriter(func(files []*weftv1.FileChunk) error { return stream.Send(&weftv1.PushRequest{Files: files}) }), progress: progress}
	err := stream.Send(&weftv1.PushRequest{Bucket: bucket, Remove: remove})
	if err == nil {
		err = buckets.Walk(ctx, fsys, p.take)
	}
	if err == nil {
		err = p.w.Flush()
	}
	if err != nil && !errors.Is(err, io.EOF) { // at EOF the node says why
		return nil, err
	}
	r, err := stream.CloseAndReceive()
	if err != nil {
		return nil, err
	}
	return r.Msg, nil
}

// A pusher sends what a walk finds.
type pusher struct {
	w        *chunks.Writer
	progress io.Writer
	buffer   [256 << 10]byte
}

func (p *pusher) take(f buckets.File) error {
	if f.Reason != "" {
		return p.leave(f.Path, f.Reason)
	}
	if err := p.w.Begin(&weftv1.FileChunk{Path: f.Path, Size: f.Size}); err != nil || f.Body == nil {
		return err
	}
	for {
		n, err := f.Body.Read(p.buffer[:])
		if n > 0 {
			if _, err := p.w.Write(p.buffer[:n]); err != nil {
				return err
			}
			_, _ = p.progress.Write(p.buffer[:n]) // for people only
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return p.leave(f.Path, err.Error())
		}
	}
}

// leave tells of a file that is left out; what was sent of it is void.
func (p *pusher) leave(path, reason string) error {
	return p.w.Begin(&weftv1.FileChunk{Path: valid(path), Reason: valid(reason)})
}

// valid returns text that a message can hold.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Pull writes the files of a bucket into a directory; see [buckets.Pull]. It tells
// progress of all files and bytes that are in their places so far.
func (c *Client) Pull(ctx context.Context, bucket, dir string, progress func(files int, bytes int64)) (buckets.Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return buckets.Pull(ctx, remote{c, bucket}, dir, buckets.PullOptions{Progress: func(p buckets.Progress) { progress(p.Files, p.Bytes) }})
}

// A remote is a bucket as a node's API gives it.
type remote struct {
	c      *Client
	bucket string
}

func (r remote) open(ctx context.Context, m *weftv1.PullRequest) (*connect.ServerStreamForClient[weftv1.PullResponse], *chunks.Reader, error) {
	m.Bucket = r.bucket
	stream, err := r.c.Buckets.Pull(ctx, connect.NewRequest(m))
	if err != nil {
		return nil, nil, err
	}
	return stream, chunks.NewReader(func() ([]*weftv1.FileChunk, error) {
		if !stream.Receive() {
			if err := stream.Err(); err != nil {
				return nil, err
			}
			return nil, io.EOF
		}
		return stream.Msg().GetFiles(), nil
	}), nil
}

// Entries lists the bucket.
func (r remote) Entries(ctx context.Context, page func([]buckets.Entry, []buckets.Note) error) error {
	const most = 512
	stream, files, err := r.open(ctx, &weftv1.PullRequest{List: true})
	if err != nil {
		return err
	}
	var list []buckets.Entry
	var left []buckets.Note
	for {
		c, err := files.Next()
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return errors.Join(err, stream.Close())
		}
		if end || len(list)+len(left) == most {
			if err := page(list, left); err != nil || end {
				return errors.Join(err, stream.Close())
			}
			list, left = nil, nil
		}
		if c.GetReason() != "" {
			left = append(left, buckets.Note{Path: c.GetPath(), Reason: c.GetReason()})
			continue
		}
		e, err := entryOf(c)
		if err != nil {
			return errors.Join(err, stream.Close())
		}
		list = append(list, e)
	}
}

func entryOf(c *weftv1.FileChunk) (buckets.Entry, error) {
	id, err := cid.Decode(c.GetCid())
	if err == nil {
		err = buckets.CheckPath(c.GetPath())
	}
	if err != nil || c.GetSize() < 0 {
		return buckets.Entry{}, fault.Errorf(fault.Malformed, "the node sent an entry %.80q that is not well formed", c.GetPath())
	}
	return buckets.Entry{Path: c.GetPath(), CID: id, Size: c.GetSize()}, nil
}

// Read brings files, which the node has checked.
func (r remote) Read(ctx context.Context, paths []string, take func(buckets.Entry, func(io.Writer) error) error) error {
	stream, files, err := r.open(ctx, &weftv1.PullRequest{Paths: paths})
	if err != nil {
		return err
	}
	for {
		c, err := files.Next()
		if errors.Is(err, io.EOF) {
			return stream.Close()
		}
		if err != nil {
			return errors.Join(err, stream.Close())
		}
		e, err := entryOf(c)
		if err == nil {
			err = take(e, func(w io.Writer) error {
				_, err := files.WriteTo(w)
				return err
			})
		}
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", c.GetPath(), err), stream.Close())
		}
	}
}
