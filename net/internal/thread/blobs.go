package thread

import (
	"context"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/blobs"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
)

// A BlobRef is a blob in the order in which this node stored a thread's blobs,
// from 1.
type BlobRef = blobs.Ref

// PutBlob seals plain, of at most MaxBlob bytes, and stores it. It is durable on
// return. Equal plaintexts give the same ID.
func (t *Thread) PutBlob(ctx context.Context, plain []byte) (format.BlobID, error) {
	ids, err := t.PutBlobs(ctx, [][]byte{plain})
	if err != nil {
		return format.BlobID{}, err
	}
	return ids[0], nil
}

// PutBlobs is PutBlob for several, with one sync of the store. One that is held already
// is listed to peers as if it came now: those that have deleted it fetch it again.
func (t *Thread) PutBlobs(ctx context.Context, plains [][]byte) ([]format.BlobID, error) {
	return t.blobs.Put(ctx, plains)
}

// Blob returns the plaintext of a blob that is held here, verified; ErrNotFound if
// it is not.
func (t *Thread) Blob(ctx context.Context, id format.BlobID) ([]byte, error) {
	return t.blobs.Open(ctx, id)
}

// BlobOf is Blob of one whose plaintext has a known SHA-256 hash, and costs less:
// that hash alone decides. Of one that it refuses, Blob says what is wrong.
func (t *Thread) BlobOf(ctx context.Context, id format.BlobID, sum [32]byte) ([]byte, error) {
	return t.blobs.OpenOf(ctx, id, sum)
}

// HasBlob reports whether a blob is held.
func (t *Thread) HasBlob(id format.BlobID) bool { return t.blobs.Has(id) }

// SealedBlob returns the sealed bytes of a blob, which were checked against its ID.
func (t *Thread) SealedBlob(id format.BlobID) ([]byte, error) { return t.blobs.Sealed(id) }

// PutSealedBlobs stores blobs of another node, durably, under the IDs that their
// bytes give.
func (t *Thread) PutSealedBlobs(ctx context.Context, sealed [][]byte) error {
	return t.blobs.Take(ctx, sealed)
}

// BlobsAfter returns at most limit blobs that were stored after the n-th, in order; only
// durable ones. There are no others up to number upTo.
func (t *Thread) BlobsAfter(n int64, limit int) (refs []BlobRef, upTo int64, err error) {
	return t.blobs.After(n, limit)
}

// LastBlob returns the number of the last blob that is durable.
func (t *Thread) LastBlob() int64 { return t.blobs.Last() }

// HoldBlobs keeps collecting from deleting what its caller stores, or finds named, until
// release, which may be called twice.
func (t *Thread) HoldBlobs() (release func()) { return t.blobs.Hold() }

// MissingBlobs returns an error of kind corrupt that names a blob whose file is not there,
// nil if all are.
func (t *Thread) MissingBlobs() error { return t.blobs.Missing() }

// A Lack is a blob that was held and is not: what was on disk was not what was written.
type Lack = blobs.Lack

// LackingBlobs returns how many blobs were held and are not.
func (t *Thread) LackingBlobs() int64 { return t.blobs.Lacking() }

// LackedBlobs returns at most limit of the blobs that were held and are not, by ID; 0 is
// all.
func (t *Thread) LackedBlobs(limit int) ([]Lack, error) { return t.blobs.Lacks(limit) }

// DropBlobs takes blobs off what is held, durably, whose bytes are not what their names
// say. It returns how many.
func (t *Thread) DropBlobs(ctx context.Context, ids ...format.BlobID) (int, error) {
	return t.blobs.Drop(ctx, ids...)
}

// MissedBlob reports whether a blob was held and is not. If its file is whole again it is
// taken back.
func (t *Thread) MissedBlob(ctx context.Context, id format.BlobID) (bool, error) {
	return t.blobs.Missed(ctx, id)
}

// RetakeBlobs takes back blobs that were dropped and whose files are whole again, and
// returns how many.
func (t *Thread) RetakeBlobs(ctx context.Context) (int, error) { return t.blobs.Retake(ctx) }

// CollectBlobs deletes the blobs that no record names, and reports how many and their
// sealed bytes. It returns ErrBlobsHeld, and deletes nothing, if they are held for long.
func (t *Thread) CollectBlobs(ctx context.Context, names BlobNames) (count, bytes int64, err error) {
	in, err := t.namesIn(names)
	if err != nil {
		return 0, 0, err
	}
	return t.blobs.Collect(ctx, in)
}

// BlobNames finds the names of blobs in what only the layers above can read.
type BlobNames struct {
	// Payload calls named with what may be the name of a blob in the payload of a
	// record; list says that the blob may be a list of others.
	Payload func(payload []byte, named func(id format.BlobID, list bool))
	// List returns the blobs that one names whose plaintext this is; none if it is no
	// list.
	List func(plain []byte) []format.BlobID
}

// namesIn returns what finds the names in a thread's records, as the layers above do: in all
// stored ones but those of control logs, which name no blobs.
func (t *Thread) namesIn(names BlobNames) (*held.Names, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.keys
	if !k.CanRead() {
		return nil, ErrNoKeys
	}
	open := func(id clock.RecordID, r format.Record) (Entry, error) { return t.opener(&k).Entry(id, r) }
	return &held.Names{Rows: t.rows, Logs: slices.Clone(t.ofData), Open: open, Payload: names.Payload, Lists: names.List, Thread: t.id}, nil
}
