package blobs

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// Collecting deletes the blobs that no record names any more: no operation since the last
// cut and no document of the snapshot in force. What a record names stays, whatever the
// documents are now: the fold may come back to it.
//
//	holds         pushes and reads    ├──a──┤   ├────b────┤      ├─c─┤
//	collecting    limit ─ a ends ─ mark what records name ─ b ends ─ delete
//
// A push stores blobs before the row that names them, and a read names them before it
// fetches them. Each holds the blobs meanwhile. Those that began before the limit (the
// last blob's number) have written their rows when marking begins; what later ones
// store, or store again, has a number above it. Those that began before the marking ended
// have read what they saw when deleting begins.
//
// Invariant: a blob's rows are gone, durably, before its file: what has a row is whole.

// Names finds the names of blobs where only those above can read them.
type Names interface {
	// Records calls named with what may be the name of a blob in a record of r; list says
	// that the blob may be a list of others. An error of named ends it.
	Records(ctx context.Context, r store.Reader, named func(id format.BlobID, list bool) error) error
	// List returns the blobs that one names whose plaintext this is; none if it is no
	// list.
	List(plain []byte) []format.BlobID
}

// Collect deletes the blobs that nothing names, and reports how many and their sealed
// bytes. It returns ErrBlobsHeld, and deletes nothing, if they are held for long.
func (s *Store) Collect(ctx context.Context, names Names) (count, bytes int64, err error) {
	s.collecting.Lock()
	defer s.collecting.Unlock()
	limit := s.Last()
	if n, _ := s.Counts(); n > 0 {
		if err := s.holds.settle(ctx); err != nil {
			return 0, 0, err
		}
		snap := s.thread.Store.Snapshot()
		defer snap.Release()
		m := &marking{s: s, ctx: ctx, snap: snap, names: names, limit: limit, marks: make([]uint64, limit/64+1)}
		if err := errors.Join(m.lacking(), names.Records(ctx, snap, m.mark)); err != nil {
			return 0, 0, fmt.Errorf("collect blobs: %w", err)
		}
		if m.blind {
			return 0, 0, fault.Of(ErrBlobsHeld, "a damaged block, which may list others, has not come back: see weft doctor")
		}
		if err := s.holds.settle(ctx); err != nil {
			return 0, 0, err
		}
		if count, bytes, err = m.sweep(); err == nil {
			err = s.forgetLacks(m.unnamed())
		}
		if err != nil {
			return count, bytes, fmt.Errorf("collect blobs: %w", err)
		}
	}
	if err := s.orphans(ctx); err != nil {
		return count, bytes, fmt.Errorf("collect blobs: %w", err)
	}
	return count, bytes, nil
}

// A marking is what one collecting knows.
type marking struct {
	s     *Store
	ctx   context.Context //nolint:containedctx // of the call
	snap  store.Reader
	names Names
	limit int64                  // the last blob that may be deleted
	marks []uint64               // a bit for each number of a blob that is named
	lacks map[format.BlobID]bool // what is lacking: whether it is named
	blind bool                   // one of these may list others, and nobody knows which
}

// lacking reads what was held and is not.
func (m *marking) lacking() error {
	lacks, err := m.s.lacksIn(m.snap, m.s.thread.Lacks, 0)
	m.lacks = map[format.BlobID]bool{}
	for _, l := range lacks {
		m.lacks[l.ID] = false
	}
	return err
}

// unnamed returns what is lacking and needed by nobody.
func (m *marking) unnamed() (ids []format.BlobID) {
	for id, named := range m.lacks {
		if !named {
			ids = append(ids, id)
		}
	}
	return ids
}

// mark marks a blob and, if it is a list, what that names.
func (m *marking) mark(id format.BlobID, list bool) error {
	n, err := m.number(id)
	if err != nil {
		return err
	}
	if n == 0 {
		if _, lacks := m.lacks[id]; lacks {
			m.lacks[id], m.blind = true, m.blind || list
		}
		return nil
	}
	if n <= m.limit {
		if m.marked(n) {
			return nil
		}
		m.marks[n/64] |= 1 << (n % 64)
	}
	if !list {
		return nil
	}
	plain, err := m.s.Open(m.ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, leaf := range m.names.List(plain) {
		if err := m.mark(leaf, false); err != nil {
			return err
		}
	}
	return nil
}

func (m *marking) marked(n int64) bool { return m.marks[n/64]&(1<<(n%64)) != 0 }

// number returns the number of a blob that is held; 0 if it is not.
func (m *marking) number(id format.BlobID) (int64, error) {
	v, err := m.s.row(m.snap, id)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return rowNumber(v), nil
}

// sweep deletes what is not marked, in several transactions.
func (m *marking) sweep() (count, bytes int64, err error) {
	it := m.snap.Iterate(store.Range{Lower: m.s.refKey(1), Upper: m.s.refKey(m.limit + 1)})
	defer it.Close()
	var refs []Ref
	commit := func() error {
		n, size, err := m.s.delete(refs)
		count, bytes, refs = count+n, bytes+size, refs[:0]
		return err
	}
	for ; it.Valid(); it.Next() {
		if err := m.ctx.Err(); err != nil {
			return count, bytes, err
		}
		if m.marked(refNumber(it.Key())) {
			continue
		}
		v, err := it.Value()
		if err != nil {
			return count, bytes, err
		}
		r, err := decodeRef(it.Key(), v)
		if err != nil {
			return count, bytes, err
		}
		if refs = append(refs, r); len(refs) == 256 {
			if err := commit(); err != nil {
				return count, bytes, err
			}
		}
	}
	if err := it.Err(); err != nil {
		return count, bytes, err
	}
	return count, bytes, commit()
}

// delete deletes blobs that have the numbers they had: one stored again has another.
func (s *Store) delete(refs []Ref) (count, bytes int64, err error) {
	if len(refs) == 0 {
		return 0, 0, nil
	}
	s.files.Lock()
	defer s.files.Unlock()
	if err := s.thread.Writable(); err != nil {
		return 0, 0, err
	}
	tx := s.thread.Store.Begin()
	defer tx.Discard()
	tx.UseReserve() // it makes room
	s.mu.Lock()
	gone, last, sum, fresh := s.gone, s.last, s.sum, s.fresh
	s.mu.Unlock()
	var files []string
	for _, r := range refs {
		if fresh.has(r.N, time.Now()) {
			continue
		}
		v, err := tx.Get(s.rowKey(r.ID))
		if errors.Is(err, store.ErrNotFound) || err == nil && len(v) >= rowHead && rowNumber(v) != r.N {
			continue
		}
		if err != nil {
			return 0, 0, err
		}
		if err := errors.Join(tx.Delete(s.rowKey(r.ID)), tx.Delete(s.refKey(r.N))); err != nil {
			return 0, 0, err
		}
		if len(v) == rowHead {
			files = append(files, s.path(r.ID))
		}
		gone.add(r.Size)
		count, bytes = count+1, bytes+int64(r.Size)
	}
	if err := errors.Join(s.putGone(tx, gone, last, sum), tx.Commit()); err != nil {
		return 0, 0, err
	}
	s.mu.Lock()
	s.gone = gone
	s.mu.Unlock()
	if err := s.thread.Store.Sync(); err != nil {
		return count, bytes, err
	}
	for _, f := range files {
		if e := os.Remove(f); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return count, bytes, err
}

// orphans removes the files that no row names: what a crash left of a store or a delete.
// That of a blob which is lacking stays: it may be whole again, as after a bad cable.
func (s *Store) orphans(ctx context.Context) error {
	dirs, err := s.listing()
	for _, d := range dirs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if d.IsDir() {
			err = errors.Join(err, s.orphansIn(filepath.Join(s.dir(), d.Name())))
		}
	}
	return err
}

func (s *Store) orphansIn(dir string) error {
	s.files.Lock()
	defer s.files.Unlock()
	if err := s.thread.Writable(); err != nil {
		return err
	}
	files, err := os.ReadDir(dir)
	for _, f := range files {
		if b, e := hex.DecodeString(f.Name()); e == nil && len(b) == 32 && (s.Has(format.BlobID(b)) || s.lacking(format.BlobID(b))) {
			continue
		}
		err = errors.Join(err, os.Remove(filepath.Join(dir, f.Name())))
	}
	return err
}
