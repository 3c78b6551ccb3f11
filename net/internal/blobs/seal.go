package blobs

import (
	"context"
	"errors"

	"github.com/weftdb/weft/internal/parallel"
	"github.com/weftdb/weft/net/internal/format"
)

// Put seals plaintexts, of at most MaxBlob bytes each, and stores them, with one sync of
// the store. They are durable on return. Equal plaintexts give the same ID. One that is
// held already is listed to peers as if it came now: those that have deleted it fetch it
// again.
func (s *Store) Put(ctx context.Context, plains [][]byte) ([]format.BlobID, error) {
	k, err := s.thread.Keys()
	if err != nil {
		return nil, err
	}
	ids, sealed, errs := make([]format.BlobID, len(plains)), make([][]byte, len(plains)), make([]error, len(plains))
	parallel.Do(len(plains), func(i int) {
		if sealed[i], errs[i] = format.SealBlob(&k, s.thread.ID, plains[i]); errs[i] == nil {
			ids[i] = format.BlobIDOf(sealed[i])
		}
	})
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return ids, s.put(ctx, ids, sealed, true)
}

// Open returns the plaintext of a blob, verified; ErrNotFound if it is not held.
func (s *Store) Open(ctx context.Context, id format.BlobID) ([]byte, error) {
	return s.open(ctx, id, s.Sealed, format.OpenBlob)
}

// OpenOf is Open of one whose plaintext has a known SHA-256 hash, and costs less: that
// hash alone decides. Of one that it refuses, Open says what is wrong.
func (s *Store) OpenOf(ctx context.Context, id format.BlobID, sum [32]byte) ([]byte, error) {
	return s.open(ctx, id, s.read, func(k *format.Keys, thread format.ThreadID, sealed []byte) ([]byte, error) {
		return format.OpenBlobOf(k, thread, sealed, sum)
	})
}

func (s *Store) open(ctx context.Context, id format.BlobID, read func(format.BlobID) ([]byte, error),
	open func(*format.Keys, format.ThreadID, []byte) ([]byte, error),
) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sealed, err := read(id)
	if err != nil {
		return nil, err
	}
	k, err := s.thread.Keys()
	if err != nil {
		return nil, err
	}
	return open(&k, s.thread.ID, sealed)
}
