package blobs

import (
	"errors"
	"io/fs"
	"os"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// Check checks the bytes of every blob against its name, and that each that was listed
// is there, and returns how many it has read. What is wrong is reported, of kind corrupt:
// blobs that Drop would drop are altered, anything else is of the rows. read is told the
// sealed bytes of each; its error ends the check. The caller holds the blobs: files are
// not of r.
func (s *Store) Check(r store.Reader, read func(bytes int) error, report func(error), altered func(format.BlobID, error)) (count int64, err error) {
	damaged := func(format string, args ...any) { report(fault.Errorf(fault.Corrupt, format, args...)) }
	listed := r.Iterate(store.Range{Lower: s.refKey(1), Upper: store.PrefixEnd(s.thread.Refs)})
	defer listed.Close()
	for ; listed.Valid(); listed.Next() {
		v, err := listed.Value()
		if err != nil {
			return count, err
		}
		if len(v) < 32 {
			damaged("the list of blobs of thread %s is damaged", s.thread.ID)
			continue
		}
		id := format.BlobID(v[:32])
		row, err := r.Get(s.rowKey(id))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return count, err
		}
		if len(row) < rowHead {
			damaged("blob %s of thread %s is not in the store", id, s.thread.ID)
			continue
		}
		sealed, where := row[rowHead:], "in the store"
		if len(sealed) == 0 {
			where = s.path(id)
			if sealed, err = os.ReadFile(where); err != nil {
				altered(id, fault.Errorf(fault.Corrupt, "blob %s of thread %s cannot be read: %v", id, s.thread.ID, err))
				continue
			}
		}
		if format.BlobIDOf(sealed) != id {
			altered(id, fault.Errorf(fault.Corrupt, "blob %s of thread %s is damaged (%s)", id, s.thread.ID, where))
		}
		count++
		if err := read(len(sealed)); err != nil {
			return count, err
		}
	}
	return count, listed.Err()
}

// Missing returns an error of kind corrupt that names a blob whose file is not there, nil
// if all are. It reads no file.
func (s *Store) Missing() error {
	snap := s.thread.Store.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Prefix(s.thread.Rows))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return err
		}
		k := it.Key()
		if len(v) != rowHead || len(k) < 32 {
			continue // its bytes are in the store
		}
		id := format.BlobID(k[len(k)-32:])
		_, err = os.Stat(s.path(id))
		if errors.Is(err, fs.ErrNotExist) && !s.Has(id) {
			continue // it was deleted meanwhile, its row first
		}
		if err != nil {
			return fault.Errorf(fault.Corrupt, "blob %s of thread %s cannot be read: %v", id, s.thread.ID, err)
		}
	}
	return it.Err()
}
