package blobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/weftdb/weft/internal/durable"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/parallel"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// maxInline is how many sealed bytes are kept in the store; larger blobs are files.
const maxInline = 64 << 10

// Take stores blobs of another node, durably, under the IDs that their bytes give.
func (s *Store) Take(ctx context.Context, sealed [][]byte) error {
	ids := make([]format.BlobID, len(sealed))
	for i, b := range sealed {
		if len(b) < format.BlobHead || len(b) > format.MaxSealedBlob {
			return fault.Of(format.ErrTooLarge, "blob of %d bytes", len(b))
		}
		ids[i] = format.BlobIDOf(b)
	}
	return s.put(ctx, ids, sealed, false)
}

// put stores sealed blobs that were checked against their IDs. Files are synced before
// the references to them, which share one sync. With again, blobs that are held already
// get new numbers.
func (s *Store) put(ctx context.Context, ids []format.BlobID, sealed [][]byte, again bool) error {
	s.files.RLock()
	defer s.files.RUnlock()
	if err := s.thread.Writable(); err != nil {
		return err
	}
	if err := s.writeFiles(ctx, ids, sealed); err != nil {
		return fmt.Errorf("blob: %w", err)
	}
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.putRefs(ids, sealed, again); err != nil {
		return err
	}
	if err := s.thread.Store.Sync(); err != nil {
		return fmt.Errorf("blob: %w", err)
	}
	s.nowDurable()
	return nil
}

// writeFiles writes the blobs that are files and are not here, and returns when
// they and their names are durable.
func (s *Store) writeFiles(ctx context.Context, ids []format.BlobID, sealed [][]byte) error {
	var fresh []int
	seen := map[format.BlobID]bool{}
	for i, id := range ids {
		if len(sealed[i]) > maxInline && !seen[id] && !s.Has(id) {
			seen[id], fresh = true, append(fresh, i)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if err := s.thread.Store.Full(); err != nil { // files would take what the store needs to go on
		return err
	}
	folders := map[string]bool{s.dir(): true, s.thread.Dir: true, filepath.Dir(s.thread.Dir): true}
	for _, i := range fresh {
		folders[filepath.Dir(s.path(ids[i]))] = true
	}
	for folder := range folders {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
	}
	written, errs := make([]string, len(fresh)), make([]error, len(fresh))
	parallel.Do(len(fresh), func(n int) {
		if errs[n] = ctx.Err(); errs[n] == nil {
			written[n], errs[n] = s.writeFile(ids[fresh[n]], sealed[fresh[n]])
		}
	})
	if err := s.first(errs); err != nil {
		return err
	}
	names := slices.AppendSeq(written, maps.Keys(folders))
	return durable.Sync(len(names), func(i int) (*os.File, error) { return os.Open(names[i]) })
}

// first returns the first of the errors, which are of one disk: a full one is told once.
func (s *Store) first(errs []error) error {
	err := cmp.Or(errs...)
	if fault.NoRoom(err) {
		return store.DiskFull(s.thread.Dir)
	}
	return err
}

// writeFile writes a blob under a temporary name and renames it. The caller syncs
// both: until the store names it, a blob is written again.
func (s *Store) writeFile(id format.BlobID, sealed []byte) (string, error) {
	f, err := os.CreateTemp(s.dir(), tempPrefix+"*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(sealed)
	path := s.path(id)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return path, nil
}

// putRefs commits the rows of blobs that are new, and with again the new numbers of
// those that are not, in as many transactions as it takes.
func (s *Store) putRefs(ids []format.BlobID, sealed [][]byte, again bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx := s.thread.Store.Begin()
	defer func() { tx.Discard() }()
	begin, last, sum, gone, lacks := s.last, s.last, s.sum, s.gone, s.lacks
	commit := func() error {
		if gone != s.gone {
			if err := s.putGone(tx, gone, last, sum); err != nil {
				return fmt.Errorf("blob: %w", err)
			}
		}
		if !again {
			if err := tx.Put(s.thread.Fresh, s.fresh.encode()); err != nil {
				return fmt.Errorf("blob: %w", err)
			}
		}
		if err := tx.Commit(); err != nil {
			return fmt.Errorf("blob: %w", err)
		}
		s.last, s.sum, s.gone, s.lacks = last, sum, gone, lacks
		return nil
	}
	for i, id := range ids {
		size := len(sealed[i])
		if used := tx.Used(); used.Bytes+size%maxInline+4096 > s.thread.Store.Limits().Bytes || used.Puts+6 > s.thread.Store.Limits().Puts {
			if err := commit(); err != nil {
				return err
			}
			tx = s.thread.Store.Begin()
		}
		old, err := tx.Get(s.rowKey(id))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("blob: %w", err)
		}
		if len(old) >= rowHead {
			n := rowNumber(old)
			if !again {
				s.fresh.add(n, time.Now())
			}
			if !again || n > begin { // it has a new number already
				continue
			}
			if err := tx.Delete(s.refKey(n)); err != nil {
				return fmt.Errorf("blob: %w", err)
			}
			gone.add(size)
		}
		last, sum = last+1, sum+int64(size)
		if !again {
			s.fresh.add(last, time.Now())
		}
		r := Ref{N: last, ID: id, Size: size}
		if lacks > 0 {
			if lacks, err = s.found(tx, id, lacks); err != nil {
				return fmt.Errorf("blob: %w", err)
			}
		}
		if err := errors.Join(tx.Put(s.rowKey(id), r.row(sealed[i])), tx.Put(s.refKey(last), r.encode(sum))); err != nil {
			return fmt.Errorf("blob: %w", err)
		}
	}
	return commit()
}
