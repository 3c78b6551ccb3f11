package blobs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// Refill takes in the blobs of a thread that is begun again whose bytes are those of
// their names: r holds their rows under keys that begin with rows. Files stay where
// they are. It returns how many were taken and how many were left.
func (s *Store) Refill(ctx context.Context, r store.Reader, rows []byte) (taken, left int64, err error) {
	it := r.Iterate(store.Prefix(rows))
	defer it.Close()
	var ids []format.BlobID
	var sealed [][]byte
	size := 0
	flush := func() error {
		err := s.putRefs(ids, sealed, false)
		ids, sealed, size = nil, nil, 0
		return err
	}
	for ; it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return taken, left, err
		}
		v, err := it.Value()
		if err != nil {
			return taken, left, err
		}
		k := it.Key()
		if len(v) < rowHead || len(k) < 32 {
			left++
			continue
		}
		id, b := format.BlobID(k[len(k)-32:]), slices.Clone(v[rowHead:])
		if len(b) == 0 {
			if b, err = os.ReadFile(s.path(id)); err != nil {
				left++
				continue
			}
		}
		if format.BlobIDOf(b) != id {
			left++
			continue
		}
		taken++
		ids, sealed, size = append(ids, id), append(sealed, b), size+len(b)
		if size > 8<<20 || len(ids) == 256 {
			if err := flush(); err != nil {
				return taken, left, err
			}
		}
	}
	if err := errors.Join(it.Err(), flush(), s.thread.Store.Sync()); err != nil {
		return taken, left, fmt.Errorf("blobs: %w", err)
	}
	s.nowDurable()
	return taken, left, nil
}
