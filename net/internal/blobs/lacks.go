package blobs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// A blob whose bytes are not what its name says is not held. That it was is kept, until it
// comes back from a peer, is put again, or nobody names it any more:
//
//	held      rows ab12… → 8, 8 → ab12…       file altered
//	Drop      lacks ab12… → size, time        the file stays, and a whole one takes its place
//	held      rows ab12… → 9, 9 → ab12…
//
// As nothing is deleted, dropping what a bad cable made look damaged loses nothing: Retake
// finds it whole.
//
//	Lacks ‖ blob ID      size u32be ‖ Unix seconds u64be

const lackSize = 4 + 8

// A Lack is a blob that was held and is not.
type Lack struct {
	ID    format.BlobID
	Size  int       // of the sealed bytes; 0 if it is not known
	Since time.Time // when that was found, to the second
}

func (s *Store) lackKey(id format.BlobID) []byte { return slices.Concat(s.thread.Lacks, id[:]) }

func (l Lack) encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, uint32(l.Size)), uint64(l.Since.Unix()))
}

// Lacking returns how many blobs were held and are not.
func (s *Store) Lacking() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lacks
}

// Lacks returns at most limit of the blobs that were held and are not, in order of their
// IDs; 0 is all.
func (s *Store) Lacks(limit int) ([]Lack, error) {
	snap := s.thread.Store.Snapshot()
	defer snap.Release()
	return s.lacksIn(snap, s.thread.Lacks, limit)
}

func (s *Store) lacksIn(r store.Reader, prefix []byte, limit int) (lacks []Lack, err error) {
	it := r.Iterate(store.Prefix(prefix))
	defer it.Close()
	for ; it.Valid() && (limit == 0 || len(lacks) < limit); it.Next() {
		v, err := it.Value()
		if err != nil {
			return nil, fmt.Errorf("blobs: %w", err)
		}
		k := it.Key()
		if len(v) != lackSize || len(k) != len(prefix)+32 {
			return nil, fault.Of(format.ErrMalformed, "the note of a damaged blob is cut short")
		}
		lacks = append(lacks, Lack{
			ID: format.BlobID(k[len(prefix):]), Size: int(binary.BigEndian.Uint32(v)),
			Since: time.Unix(int64(binary.BigEndian.Uint64(v[4:])), 0).UTC(),
		})
	}
	return lacks, it.Err()
}

// loadLacks counts what is lacking.
func (s *Store) loadLacks(r store.Reader) error {
	rng := store.Prefix(s.thread.Lacks)
	rng.KeysOnly = true
	it := r.Iterate(rng)
	defer it.Close()
	for s.lacks = 0; it.Valid(); it.Next() {
		s.lacks++
	}
	return it.Err()
}

// lacking reports whether a blob was held and is not.
func (s *Store) lacking(id format.BlobID) bool {
	snap := s.thread.Store.Snapshot()
	defer snap.Release()
	_, err := snap.Get(s.lackKey(id))
	return err == nil
}

// found deletes the note that a blob is lacking, if there is one, and returns how many are
// left of lacks.
func (s *Store) found(tx store.Tx, id format.BlobID, lacks int64) (int64, error) {
	_, err := tx.Get(s.lackKey(id))
	if errors.Is(err, store.ErrNotFound) {
		return lacks, nil
	}
	return lacks - 1, errors.Join(err, tx.Delete(s.lackKey(id)))
}

// Drop takes blobs off what is held, durably, whose bytes are not there or are not what
// their names say, which it looks at again; their files stay. It returns how many.
func (s *Store) Drop(ctx context.Context, ids ...format.BlobID) (dropped int, err error) {
	for _, id := range ids {
		if err = ctx.Err(); err != nil {
			break
		}
		did, e := s.drop(id)
		if did {
			dropped++
		}
		if err = e; err != nil {
			break
		}
	}
	if dropped > 0 {
		err = errors.Join(err, s.thread.Store.Sync())
	}
	if err != nil {
		return dropped, fmt.Errorf("drop blobs: %w", err)
	}
	return dropped, nil
}

func (s *Store) drop(id format.BlobID) (bool, error) {
	s.files.Lock()
	defer s.files.Unlock()
	if err := s.thread.Writable(); err != nil {
		return false, err
	}
	switch _, err := s.Sealed(id); {
	case err == nil || errors.Is(err, ErrNotFound):
		return false, nil
	case !errors.Is(err, ErrDamagedBlob):
		return false, err
	}
	return true, s.toLacks(id)
}

// toLacks replaces the rows of a blob by a note that it is lacking. Nobody writes rows
// meanwhile.
func (s *Store) toLacks(id format.BlobID) error {
	tx := s.thread.Store.Begin()
	defer tx.Discard()
	v, err := s.row(tx, id)
	if err != nil {
		return err
	}
	n, size := rowNumber(v), rowSize(v)
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := s.gone
	gone.add(size)
	err = errors.Join(
		tx.Delete(s.rowKey(id)), tx.Delete(s.refKey(n)), s.putGone(tx, gone, s.last, s.sum),
		tx.Put(s.lackKey(id), Lack{Size: size, Since: time.Now()}.encode()), tx.Commit())
	if err == nil {
		s.gone, s.lacks = gone, s.lacks+1
	}
	return err
}

// Retake takes back what is lacking and has a file that is whole again, and returns how
// many.
func (s *Store) Retake(ctx context.Context) (taken int, err error) {
	if s.Lacking() == 0 {
		return 0, nil
	}
	lacks, err := s.Lacks(0)
	if err != nil {
		return 0, err
	}
	for _, l := range lacks {
		took, err := s.retake(ctx, l.ID)
		if err != nil {
			return taken, err
		}
		if took {
			taken++
		}
	}
	return taken, nil
}

// Missed reports whether a blob was held and is not. If its file is whole again it is
// taken back.
func (s *Store) Missed(ctx context.Context, id format.BlobID) (bool, error) {
	if s.Lacking() == 0 || !s.lacking(id) {
		return false, nil
	}
	took, err := s.retake(ctx, id)
	return !took, err
}

func (s *Store) retake(ctx context.Context, id format.BlobID) (bool, error) {
	b, err := os.ReadFile(s.path(id))
	if err != nil || format.BlobIDOf(b) != id {
		return false, nil //nolint:nilerr // it is lacking as before
	}
	return true, s.put(ctx, []format.BlobID{id}, [][]byte{b}, false)
}

// forgetLacks deletes the notes of blobs that nobody needs any more.
func (s *Store) forgetLacks(ids []format.BlobID) error {
	s.write.Lock()
	defer s.write.Unlock()
	for some := range slices.Chunk(ids, 256) {
		if err := s.forgetSome(some); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) forgetSome(ids []format.BlobID) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx := s.thread.Store.Begin()
	defer tx.Discard()
	lacks := s.lacks
	for _, id := range ids {
		if lacks, err = s.found(tx, id, lacks); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.lacks = lacks
	return nil
}

// refillLacks notes what is lacking of a thread that is begun again.
func (s *Store) refillLacks(lacks []Lack) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for some := range slices.Chunk(lacks, 256) {
		tx := s.thread.Store.Begin()
		added := int64(0)
		var err error
		for _, l := range some {
			_, held := tx.Get(s.rowKey(l.ID))
			_, noted := tx.Get(s.lackKey(l.ID))
			if held == nil || noted == nil {
				continue
			}
			added, err = added+1, errors.Join(err, tx.Put(s.lackKey(l.ID), l.encode()))
		}
		if err == nil {
			err = tx.Commit()
		}
		tx.Discard()
		if err != nil {
			return err
		}
		s.lacks += added
	}
	return nil
}
