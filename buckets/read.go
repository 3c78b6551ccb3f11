package buckets

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/weftdb/weft/internal/fault"
)

// Entry returns one path of the bucket, or ErrNotFound; ErrPath if it is a directory
// because files are in it.
func (b *Bucket) Entry(ctx context.Context, path string) (Entry, error) {
	e, err := b.get(ctx, path)
	if err != nil {
		return Entry{}, err
	}
	return e.public(), nil
}

// get is Entry of an entry as it is kept.
func (b *Bucket) get(ctx context.Context, path string) (entry, error) {
	if err := CheckPath(path); err != nil {
		return entry{}, err
	}
	e, err := b.entries.get(ctx, path)
	if !errors.Is(err, ErrNotFound) {
		return e, err
	}
	for _, lerr := range b.List(ctx, strings.TrimSuffix(path, "/")+"/") {
		if lerr != nil {
			return e, lerr
		}
		return e, fault.Of(ErrPath, "%s is a directory", path)
	}
	return e, err
}

// List walks the entries whose path begins with prefix, in byte order of paths.
// Entries that are not well formed are left out; [Bucket.Overview] names them.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		_, err := b.entries.scan(ctx, prefix, "", 0, func(e entry) error {
			if !yield(e.public(), nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(Entry{}, err)
		}
	}
}

// Cat writes a range of a file to w. Every byte that is written has been checked
// against the entry's CID; content that does not match returns ErrCorrupt, and a
// range that begins after the end ErrRange.
func (b *Bucket) Cat(ctx context.Context, path string, w io.Writer, r Range) error {
	return b.CatVersion(ctx, path, cid.Undef, w, r)
}

// CatVersion is Cat of one of the entry's versions, by CID; cid.Undef is the one
// that is read.
func (b *Bucket) CatVersion(ctx context.Context, path string, c cid.Cid, w io.Writer, r Range) error {
	defer b.blobs.Hold()()
	e, err := b.get(ctx, path)
	if err != nil {
		return err
	}
	v := e.version()
	if c.Defined() {
		var ok bool
		if v, ok = e.versions[c.String()]; !ok {
			return fault.Of(ErrNotFound, "%s has no version %s", path, c)
		}
	}
	if e.isDir() {
		return fault.Of(ErrPath, "%s is a directory", path)
	}
	if err := b.copyRange(ctx, v, w, r); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// copyRange writes a range of a version, checked, to w.
func (b *Bucket) copyRange(ctx context.Context, v version, w io.Writer, r Range) error {
	if r.Offset < 0 || r.Offset > v.size {
		return fault.Of(ErrRange, "the range begins at byte %d, the file has %d", r.Offset, v.size)
	}
	end := v.size
	if r.Length >= 0 && r.Length < v.size-r.Offset {
		end = r.Offset + r.Length
	}
	if r.Offset == end {
		return nil
	}
	if v.blob != nil {
		p, err := b.fetchLeaf(ctx, leaf{size: v.size, blob: *v.blob, sum: [32]byte(v.cid.Hash()[2:])})
		if err != nil {
			return err
		}
		return write(w, p[r.Offset:end])
	}
	f := &fileReader{blobs: b.blobs, version: v, loaded: -1}
	if err := f.check(ctx); err != nil {
		return err
	}
	return b.copyLeaves(ctx, f, w, r.Offset, end)
}

// readAhead is how many leaves of a file are on their way at once.
const readAhead = 4

// copyLeaves writes the bytes from..to of a file that was checked.
func (b *Bucket) copyLeaves(ctx context.Context, f *fileReader, w io.Writer, from, to int64) error {
	type fetched struct {
		p   []byte
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	var coming []chan fetched
	next, last := from/ChunkSize, (to-1)/ChunkSize
	for i := next; i <= last; i++ {
		for ; next <= min(last, i+readAhead-1); next++ {
			l, err := f.leaf(ctx, next)
			if err != nil {
				return err
			}
			c := make(chan fetched, 1)
			coming = append(coming, c)
			wg.Go(func() {
				p, err := b.fetchLeaf(ctx, l)
				c <- fetched{p, err}
			})
		}
		got := <-coming[0]
		coming = coming[1:]
		if got.err != nil {
			return fmt.Errorf("leaf %d: %w", i, got.err)
		}
		start := i * ChunkSize
		if err := write(w, got.p[max(from, start)-start:min(to, start+int64(len(got.p)))-start]); err != nil {
			return err
		}
	}
	return nil
}

func write(w io.Writer, p []byte) error {
	if _, err := w.Write(p); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// fetchLeaf fetches a leaf and checks it.
func (b *Bucket) fetchLeaf(ctx context.Context, l leaf) ([]byte, error) {
	p, err := b.blobs.GetOf(ctx, l.blob, l.sum)
	if err != nil {
		p, err = b.blobs.Get(ctx, l.blob)
		if err != nil {
			return nil, fmt.Errorf("fetch block %x: %w", l.blob[:8], err)
		}
		if sha256.Sum256(p) != l.sum {
			return nil, fault.Of(ErrCorrupt, "block %x has other bytes than its name says", l.blob[:8])
		}
	}
	if int64(len(p)) != l.size {
		return nil, fault.Of(ErrCorrupt, "block %x has other bytes than its name says", l.blob[:8])
	}
	return p, nil
}

// A fileReader finds the leaves of a file of several, holding one manifest.
type fileReader struct {
	blobs   Blobs
	version version
	loaded  int // the manifest held, -1 for none
	leaves  []leaf

	dag  *dag             // nil: check keeps none of the nodes
	each func(leaf) error // called by check with each leaf; nil for nothing
}

// check derives the file's CID from the leaves that its manifests list: after
// it, a leaf that matches its sum is a part of the file.
func (f *fileReader) check(ctx context.Context) error {
	b := fileBuilder{dag: f.dag}
	var size int64
	for i := range f.version.manifests {
		if err := f.load(ctx, i); err != nil {
			return err
		}
		last := i == len(f.version.manifests)-1
		if !last && (len(f.leaves) != leavesPerManifest || f.leaves[leavesPerManifest-1].size != ChunkSize) {
			return fault.Of(ErrMalformed, "manifest %d is short", i)
		}
		for _, l := range f.leaves {
			if err := b.leaf(l.sum, l.size); err != nil {
				return err
			}
			if f.each != nil {
				if err := f.each(l); err != nil {
					return err
				}
			}
			size += l.size
		}
	}
	root, err := b.root()
	if err != nil {
		return err
	}
	if root.cid != f.version.cid || size != f.version.size || root.tsize != f.version.tsize {
		return fault.Of(ErrCorrupt, "the manifests give %s of %d bytes, the entry says %s of %d", root.cid, size, f.version.cid, f.version.size)
	}
	return nil
}

func (f *fileReader) load(ctx context.Context, i int) error {
	if f.loaded == i {
		return nil
	}
	id := f.version.manifests[i]
	p, err := f.blobs.Get(ctx, id)
	if err != nil {
		return fmt.Errorf("fetch manifest %x: %w", id[:8], err)
	}
	leaves, err := decodeManifest(p)
	if err != nil {
		return fmt.Errorf("manifest %x: %w", id[:8], err)
	}
	f.loaded, f.leaves = i, leaves
	return nil
}

// leaf returns the file's leaf number i, after check.
func (f *fileReader) leaf(ctx context.Context, i int64) (leaf, error) {
	if err := f.load(ctx, int(i/leavesPerManifest)); err != nil {
		return leaf{}, err
	}
	n := int(i % leavesPerManifest)
	if n >= len(f.leaves) {
		return leaf{}, fault.Of(ErrCorrupt, "leaf %d is missing", i)
	}
	return f.leaves[n], nil
}

// Needing calls found with the path of each file that needs a block of those that lacks
// reports, for the version that is read or a conflicting one. The blocks of a file whose
// manifest is in no reach are not known.
func (b *Bucket) Needing(ctx context.Context, lacks func(BlobID) bool, found func(path string, id BlobID)) error {
	defer b.blobs.Hold()()
	_, err := b.entries.scan(ctx, "", "", 0, func(e entry) error {
		for _, v := range e.versions {
			if v.blob != nil && lacks(*v.blob) {
				found(e.path, *v.blob)
			}
			for _, m := range v.manifests {
				if lacks(m) {
					found(e.path, m)
					continue
				}
				p, err := b.blobs.Get(ctx, m)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err != nil {
					continue
				}
				for _, id := range ManifestBlobs(p) {
					if lacks(id) {
						found(e.path, id)
					}
				}
			}
		}
		return nil
	})
	return err
}
