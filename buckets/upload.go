package buckets

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
)

// Bounds of a batch of blocks and of one transaction of entries. An upload holds
// one batch that is read and atOnce that are stored: one is sealed and written
// while the disk takes the one before it.
const (
	atOnce       = 2
	batchBytes   = 8 << 20
	batchBlocks  = 1024
	batchChanges = 512
	changeBytes  = 256 << 10
)

// An upload turns files into blobs, in batches of one sync each, and into
// changes of entries, which are written only once the blobs under them are
// durable. It belongs to one goroutine; a few batches and one transaction are on
// their way beside it.
//
//	add ─► blocks ─ flush ► stored ─ settle ► changes ─ commit ► written
type upload struct {
	b       *Bucket
	scratch []byte // ChunkSize
	all     bool   // blocks of files that are there are stored too: some are lacking

	blocks [][]byte
	ready  []func(BlobID) error // what to do once the block has an ID
	bytes  int
	stored []*storing // the batches on their way, oldest first

	changes []change
	weight  int      // rough size of changes
	written *writing // the transaction on its way, or nil
	left    []string // paths of removals that have a version yet
}

func newUpload(b *Bucket) *upload {
	return &upload{b: b, scratch: make([]byte, ChunkSize), all: b.blobs.Lacking()}
}

// A storing is a batch of blocks on its way.
type storing struct {
	ready []func(BlobID) error
	done  chan struct{} // closed when ids and err are there
	ids   []BlobID
	err   error
}

// A writing is a transaction of entries on its way.
type writing struct {
	done chan struct{} // closed when left and err are there
	left []string
	err  error
}

// A file is one file on its way through an upload.
type file struct {
	up        *upload
	path      string
	old       string // CID of the version that it replaces, or ""
	dag       fileBuilder
	leaves    []leaf // of the manifest that is being filled
	manifests []BlobID
	size      int64
	pending   int // leaves without a blob ID
	ended     bool
	version   *version // set at the end
}

// add reads a file to its end and queues its blobs and its entry, unless it has
// the old version's content. It returns the version that the entry will have.
func (u *upload) add(ctx context.Context, path, old string, r io.Reader) (*version, error) {
	f := &file{up: u, path: path, old: old}
	for {
		n, err := io.ReadFull(r, u.scratch)
		end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if n > 0 && (err == nil || end) {
			if err := f.leaf(ctx, u.scratch[:n], end); err != nil {
				return nil, err
			}
		}
		if end {
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

// leaf takes the next leaf of the file; it keeps no hold of p. last tells that
// the file ends with it.
func (f *file) leaf(ctx context.Context, p []byte, last bool) error {
	if f.size+int64(len(p)) > MaxFile {
		return &readError{ErrTooBig}
	}
	if len(f.leaves) == leavesPerManifest {
		if err := f.up.settle(ctx); err != nil { // gives every leaf its ID
			return err
		}
		if err := f.closeManifest(); err != nil {
			return err
		}
		if err := f.up.settle(ctx); err != nil {
			return err
		}
	}
	sum := sha256.Sum256(p)
	if err := f.dag.leaf(sum, int64(len(p))); err != nil {
		return err
	}
	f.size += int64(len(p))
	if last && f.size == int64(len(p)) && f.old != "" && !f.up.all {
		if c, err := rawCID(sum); err != nil || c.String() == f.old {
			return err // the whole file, and it is there
		}
	}
	i := len(f.leaves)
	f.leaves = append(f.leaves, leaf{sum: sum, size: int64(len(p))})
	f.pending++
	f.up.queue(bytes.Clone(p), func(id BlobID) error {
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
			f.change()
		}
		return nil
	})
	return nil
}

// finish runs when the file is read and every leaf is durable.
func (f *file) finish() error {
	if f.same() && !f.up.all {
		return nil
	}
	if f.size > ChunkSize {
		return f.closeManifest()
	}
	if f.size > 0 {
		f.version.blob = &f.leaves[0].blob
	}
	f.change()
	return nil
}

// same reports whether the entry has the file's content already.
func (f *file) same() bool { return f.version.cid.String() == f.old }

// change queues the file's entry, if it is another.
func (f *file) change() {
	if f.same() {
		return
	}
	c := change{path: f.path, version: f.version}
	if f.old != "" {
		c.replaces = []string{f.old}
	}
	f.up.change(c)
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

func (u *upload) queue(block []byte, ready func(BlobID) error) {
	u.blocks = append(u.blocks, block)
	u.ready = append(u.ready, ready)
	u.bytes += len(block)
}

func (u *upload) change(c change) {
	u.changes = append(u.changes, c)
	u.weight += c.weight()
}

// weight is the rough size of a change in a transaction.
func (c change) weight() int {
	n := 512 + 2*len(c.path)
	if c.version != nil {
		n += 48 * len(c.version.manifests)
	}
	return n
}

// room flushes and commits if the upload holds more than it should.
func (u *upload) room(ctx context.Context) error {
	if u.bytes >= batchBytes || len(u.blocks) >= batchBlocks {
		if err := u.flush(ctx); err != nil {
			return err
		}
	}
	if len(u.changes) >= batchChanges || u.weight >= changeBytes {
		return u.commit(ctx)
	}
	return nil
}

// flush begins to store the queued blocks.
func (u *upload) flush(ctx context.Context) error {
	for len(u.stored) >= atOnce {
		if err := u.await(); err != nil {
			return err
		}
	}
	if len(u.blocks) == 0 {
		return u.await()
	}
	s := &storing{ready: u.ready, done: make(chan struct{})}
	blocks := u.blocks
	u.blocks, u.ready, u.bytes = nil, nil, 0
	u.stored = append(u.stored, s)
	go func() {
		defer close(s.done)
		s.ids, s.err = u.b.blobs.Put(ctx, blocks)
		if s.err == nil && len(s.ids) != len(blocks) {
			s.err = fmt.Errorf("got %d IDs, want %d", len(s.ids), len(blocks))
		}
	}()
	return nil
}

// await waits for the oldest batch on its way; what it completes is queued in
// turn.
func (u *upload) await() error {
	if len(u.stored) == 0 {
		return nil
	}
	s := u.stored[0]
	u.stored = u.stored[1:]
	<-s.done
	if s.err != nil {
		return fmt.Errorf("store blocks: %w", s.err)
	}
	for i, ready := range s.ready {
		if err := ready(s.ids[i]); err != nil {
			return err
		}
	}
	return nil
}

// settle returns when every block is stored, those that blocks complete too.
func (u *upload) settle(ctx context.Context) error {
	for len(u.blocks) > 0 || len(u.stored) > 0 {
		if err := u.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// commit begins to write the changes that are ready, a transaction at a time,
// once those before are written.
func (u *upload) commit(ctx context.Context) error {
	for len(u.changes) > 0 {
		if err := u.landed(); err != nil {
			return err
		}
		n, weight := 0, 0
		for n < len(u.changes) && n < batchChanges && (n == 0 || weight < changeBytes) {
			weight += u.changes[n].weight()
			n++
		}
		w, changes := &writing{done: make(chan struct{})}, u.changes[:n:n]
		u.changes, u.weight = u.changes[n:], u.weight-weight
		u.written = w
		go func() {
			defer close(w.done)
			w.left, w.err = u.b.entries.apply(ctx, changes)
		}()
	}
	return nil
}

// landed waits for the transaction on its way.
func (u *upload) landed() error {
	w := u.written
	if w == nil {
		return nil
	}
	<-w.done
	u.written = nil
	u.left = append(u.left, w.left...)
	return w.err
}

// close stores and writes all that is left, and returns the paths of removals
// that have a version yet.
func (u *upload) close(ctx context.Context) (left []string, err error) {
	err = u.settle(ctx)
	if err == nil {
		err = u.commit(ctx)
	}
	err = cmp.Or(err, u.abort())
	left, u.left = u.left, nil
	return left, err
}

// abort waits for what is on its way and begins nothing more. Of several errors the first
// is returned: those after it say the same, as on a full disk, or follow from it.
func (u *upload) abort() error {
	var err error
	for len(u.stored) > 0 {
		err = cmp.Or(err, u.await())
	}
	return cmp.Or(err, u.landed())
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
