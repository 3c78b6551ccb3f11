package blobs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// Refill takes in the blobs of a thread that is begun again whose bytes are those of
// their names: r holds their rows, and what it lacked, under keys that begin with rows and
// lacks. Files stay where they are. It returns how many were taken; the others are lacking.
func (s *Store) Refill(ctx context.Context, r store.Reader, rows, lacks []byte) (taken int64, err error) {
	left, err := s.lacksIn(r, lacks, 0)
	if err != nil && !errors.Is(err, format.ErrMalformed) {
		return 0, err
	}
	it := r.Iterate(store.Prefix(rows))
	defer it.Close()
	var ids []format.BlobID
	var sealed [][]byte
	bytes := 0
	flush := func() error {
		err := s.putRefs(ids, sealed, false)
		ids, sealed, bytes = nil, nil, 0
		return err
	}
	for ; it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return taken, err
		}
		v, err := it.Value()
		if err != nil {
			return taken, err
		}
		k := it.Key()
		if len(k) != len(rows)+32 {
			continue
		}
		id := format.BlobID(k[len(rows):])
		b, size, ok := s.refillable(id, v)
		if !ok {
			left = append(left, Lack{ID: id, Size: size, Since: time.Now()})
			continue
		}
		taken++
		ids, sealed, bytes = append(ids, id), append(sealed, b), bytes+len(b)
		if bytes > 8<<20 || len(ids) == 256 {
			if err := flush(); err != nil {
				return taken, err
			}
		}
	}
	if err := errors.Join(it.Err(), flush(), s.refillLacks(left), s.thread.Store.Sync()); err != nil {
		return taken, fmt.Errorf("blobs: %w", err)
	}
	s.nowDurable()
	return taken, nil
}

// refillable returns the sealed bytes of a blob by its row, if they are whole, and how many
// there were.
func (s *Store) refillable(id format.BlobID, row []byte) (sealed []byte, size int, ok bool) {
	if len(row) < rowHead {
		return nil, 0, false
	}
	if sealed = slices.Clone(row[rowHead:]); len(sealed) == 0 {
		var err error
		if sealed, err = os.ReadFile(s.path(id)); err != nil {
			return nil, rowSize(row), false
		}
	}
	return sealed, rowSize(row), format.BlobIDOf(sealed) == id
}
