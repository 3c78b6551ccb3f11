package buckets

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
)

// Bounds of what an upload holds in memory, and of one transaction of entries.
const (
	batchBytes   = 2 << 20
	batchBlocks  = 256
	batchChanges = 512
	changeBytes  = 256 << 10
)

// An upload turns files into blobs, in batches of one sync each, and into
// changes of entries, which are written only once the blobs under them are
// durable. It belongs to one goroutine.
type upload struct {
	b       *Bucket
	scratch []byte // ChunkSize

	blocks [][]byte
	stored []func(BlobID) error // what to do once the block has an ID
	bytes  int

	changes []change
	weight  int // rough size of changes
}

func newUpload(b *Bucket) *upload { return &upload{b: b, scratch: make([]byte, ChunkSize)} }

// A file is one file on its way through an upload.
type file struct {
	up        *upload
	path      string
	replaces  []string
	dag       fileBuilder
	leaves    []leaf // of the manifest that is being filled
	manifests []BlobID
	size      int64
	pending   int // leaves without a blob ID
	ended     bool
	version   *version // set at the end
}

// add reads a file to its end and queues its blobs and its entry. It returns
// the version that the entry will have.
func (u *upload) add(ctx context.Context, path string, replaces []string, r io.Reader) (*version, error) {
	f := &file{up: u, path: path, replaces: replaces}
	for {
		n, err := io.ReadFull(r, u.scratch)
		if n > 0 {
			if err := f.leaf(ctx, bytes.Clone(u.scratch[:n])); err != nil {
				return nil, err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return nil, &readError{err}
		}
	}
	root, err := f.dag.root()
	if err != nil {
		return nil, err
	}
	f.ended = true
	f.version = &version{cid: root.cid, size: f.size, tsize: root.tsize}
	if f.pending == 0 {
		if err := f.finish(); err != nil {
			return nil, err
		}
	}
	return f.version, u.room(ctx)
}

// A readError is the source's error, which concerns one file only.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

func (f *file) leaf(ctx context.Context, p []byte) error {
	if f.size+int64(len(p)) > MaxFile {
		return &readError{ErrTooBig}
	}
	if len(f.leaves) == leavesPerManifest {
		if err := f.up.flush(ctx); err != nil { // gives every leaf its ID
			return err
		}
		if err := f.closeManifest(); err != nil {
			return err
		}
		if err := f.up.flush(ctx); err != nil {
			return err
		}
	}
	sum := sha256.Sum256(p)
	if err := f.dag.leaf(sum, int64(len(p))); err != nil {
		return err
	}
	i := len(f.leaves)
	f.leaves = append(f.leaves, leaf{sum: sum, size: int64(len(p))})
	f.size += int64(len(p))
	f.pending++
	f.up.queue(p, func(id BlobID) error {
		f.leaves[i].blob = id
		if f.pending--; f.pending == 0 && f.ended {
			return f.finish()
		}
		return nil
	})
	return f.up.room(ctx)
}

// closeManifest queues the manifest of the leaves so far.
func (f *file) closeManifest() error {
	p := encodeManifest(f.leaves)
	f.leaves = f.leaves[:0]
	f.up.queue(p, func(id BlobID) error {
		f.manifests = append(f.manifests, id)
		if f.ended {
			f.version.manifests = f.manifests
			f.up.change(change{path: f.path, version: f.version, replaces: f.replaces})
		}
		return nil
	})
	return nil
}

// finish runs when the file is read and every leaf is durable.
func (f *file) finish() error {
	if f.size > ChunkSize {
		return f.closeManifest()
	}
	if f.size > 0 {
		f.version.blob = &f.leaves[0].blob
	}
	f.up.change(change{path: f.path, version: f.version, replaces: f.replaces})
	return nil
}

// mark queues the entry of an empty directory.
func (u *upload) mark(path string) error {
	c, err := cid.Decode(emptyDirCID)
	if err != nil {
		return fmt.Errorf("%w", err)
	}
	u.change(change{path: path, version: &version{cid: c, tsize: emptyDirSize}})
	return nil
}

func (u *upload) queue(block []byte, stored func(BlobID) error) {
	u.blocks = append(u.blocks, block)
	u.stored = append(u.stored, stored)
	u.bytes += len(block)
}

func (u *upload) change(c change) {
	u.changes = append(u.changes, c)
	u.weight += 512 + 2*len(c.path)
	if c.version != nil {
		u.weight += 48 * len(c.version.manifests)
	}
}

// room flushes if the upload holds more than it should.
func (u *upload) room(ctx context.Context) error {
	if u.bytes >= batchBytes || len(u.blocks) >= batchBlocks {
		if err := u.flush(ctx); err != nil {
			return err
		}
	}
	if len(u.changes) >= batchChanges || u.weight >= changeBytes {
		_, err := u.commit(ctx)
		return err
	}
	return nil
}

// flush stores the queued blocks; what they complete is queued in turn.
func (u *upload) flush(ctx context.Context) error {
	if len(u.blocks) == 0 {
		return nil
	}
	blocks, stored := u.blocks, u.stored
	u.blocks, u.stored, u.bytes = nil, nil, 0
	ids, err := u.b.blobs.Put(ctx, blocks)
	if err != nil {
		return fmt.Errorf("store blocks: %w", err)
	}
	if len(ids) != len(blocks) {
		return fmt.Errorf("store blocks: got %d IDs, want %d", len(ids), len(blocks))
	}
	for i, done := range stored {
		if err := done(ids[i]); err != nil {
			return err
		}
	}
	return nil
}

// commit writes the changes that are ready, and returns the paths of removals
// that have a version yet.
func (u *upload) commit(ctx context.Context) (left []string, err error) {
	for len(u.changes) > 0 {
		n, weight := 0, 0
		for n < len(u.changes) && n < batchChanges && (n == 0 || weight < changeBytes) {
			weight += 512 + 2*len(u.changes[n].path)
			if v := u.changes[n].version; v != nil {
				weight += 48 * len(v.manifests)
			}
			n++
		}
		l, err := u.b.entries.apply(ctx, u.changes[:n])
		if err != nil {
			return left, err
		}
		left = append(left, l...)
		u.changes = u.changes[n:]
	}
	u.changes, u.weight = nil, 0
	return left, nil
}

// close stores and writes all that is left.
func (u *upload) close(ctx context.Context) (left []string, err error) {
	for len(u.blocks) > 0 {
		if err := u.flush(ctx); err != nil {
			return nil, err
		}
	}
	return u.commit(ctx)
}

// contentCID derives the CID and size of a file without storing anything.
func contentCID(r io.Reader, scratch []byte) (cid.Cid, int64, error) {
	var dag fileBuilder
	var size int64
	for {
		n, err := io.ReadFull(r, scratch[:ChunkSize])
		if n > 0 {
			if err := dag.leaf(sha256.Sum256(scratch[:n]), int64(n)); err != nil {
				return cid.Undef, 0, err
			}
			size += int64(n)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			root, err := dag.root()
			return root.cid, size, err
		}
		if err != nil {
			return cid.Undef, 0, &readError{err}
		}
	}
}
