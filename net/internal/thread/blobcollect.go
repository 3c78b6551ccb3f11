package thread

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/weftdb/weft/internal/clock"
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
// A push stores blobs before the entry that names them, and a read names them before it
// fetches them. Each holds the blobs meanwhile. Those that began before the limit (the
// last blob's number) have written their entries when marking begins; what later ones
// store, or store again, has a number above it. Those that began before the marking ended
// have read what they saw when deleting begins.
//
// Invariant: a blob's rows are gone, durably, before its file: what has a row is whole.

// BlobNames finds the names of blobs in what only the layers above can read.
type BlobNames struct {
	// Payload calls named with what may be the name of a blob in the payload of a
	// record; list says that the blob may be a list of others.
	Payload func(payload []byte, named func(id format.BlobID, list bool))
	// List returns the blobs that one names whose plaintext this is; none if it is no
	// list.
	List func(plain []byte) []format.BlobID
}

// holdsFor is how long collecting waits for those who hold blobs.
const holdsFor = 10 * time.Second

// blobHolds are those who store or read blobs now, by numbers in the order of their
// beginning.
type blobHolds struct {
	mu     sync.Mutex // guards what follows
	next   int64
	active map[int64]struct{}
	ended  chan struct{} // closed when one ends; nil if nobody waits
}

// HoldBlobs keeps collecting from deleting what its caller stores, or finds named, until
// release, which may be called twice.
func (t *Thread) HoldBlobs() (release func()) {
	h := &t.blobs.holds
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.next
	h.next++
	if h.active == nil {
		h.active = map[int64]struct{}{}
	}
	h.active[n] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.active, n)
		if h.ended != nil {
			close(h.ended)
			h.ended = nil
		}
	}
}

// settle waits until those that hold blobs now have ended.
func (h *blobHolds) settle(ctx context.Context) error {
	h.mu.Lock()
	before := h.next
	h.mu.Unlock()
	late := time.NewTimer(holdsFor)
	defer late.Stop()
	for {
		h.mu.Lock()
		busy := 0
		for n := range h.active {
			if n < before {
				busy++
			}
		}
		if h.ended == nil {
			h.ended = make(chan struct{})
		}
		ended := h.ended
		h.mu.Unlock()
		if busy == 0 {
			return nil
		}
		select {
		case <-ended:
		case <-late.C:
			return fault.Of(ErrBlobsHeld, "%d pushes or reads of files are under way: compact again when they have ended", busy)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// freshFor is how long a blob that came from a peer stays, named or not: the record that
// names it travels on another stream.
const freshFor = 10 * time.Minute

// freshBlobs are the numbers of blobs that came from peers, as runs in the order of
// their coming.
type freshBlobs []freshRun

type freshRun struct {
	first, last int64
	at          time.Time // when the first came
}

// add notes number n, and forgets what is no longer fresh.
func (f *freshBlobs) add(n int64, now time.Time) {
	for len(*f) > 0 && now.Sub((*f)[0].at) > freshFor+time.Minute {
		*f = (*f)[1:]
	}
	if k := len(*f) - 1; k >= 0 && (*f)[k].last+1 == n && now.Sub((*f)[k].at) < time.Minute {
		(*f)[k].last = n
		return
	}
	*f = append(*f, freshRun{n, n, now})
}

// has reports whether the blob with number n came lately.
func (f freshBlobs) has(n int64, now time.Time) bool {
	return slices.ContainsFunc(f, func(r freshRun) bool { return r.first <= n && n <= r.last && now.Sub(r.at) <= freshFor+time.Minute })
}

// CollectBlobs deletes the blobs that no record names, and reports how many and their
// sealed bytes. It returns ErrBlobsHeld, and deletes nothing, if they are held for long.
func (t *Thread) CollectBlobs(ctx context.Context, names BlobNames) (count, bytes int64, err error) {
	s := &t.blobs
	s.collecting.Lock()
	defer s.collecting.Unlock()
	limit := t.LastBlob()
	if n, _ := s.counts(); n > 0 {
		if err := s.holds.settle(ctx); err != nil {
			return 0, 0, err
		}
		snap := t.env.store.Snapshot()
		defer snap.Release()
		m := &marking{t: t, ctx: ctx, snap: snap, names: names, limit: limit, marks: make([]uint64, limit/64+1)}
		if err := m.records(); err != nil {
			return 0, 0, fmt.Errorf("collect blobs: %w", err)
		}
		if err := s.holds.settle(ctx); err != nil {
			return 0, 0, err
		}
		if count, bytes, err = m.sweep(); err != nil {
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
	t     *Thread
	ctx   context.Context //nolint:containedctx // of the call
	snap  store.Snapshot
	names BlobNames
	limit int64    // the last blob that may be deleted
	marks []uint64 // a bit for each number of a blob that is named
}

// records marks what the stored records name.
func (m *marking) records() error {
	t := m.t
	t.mu.Lock()
	logs, k := slices.Clone(t.byNum), t.keys
	t.mu.Unlock()
	if !k.CanRead() {
		return ErrNoKeys
	}
	for _, l := range logs {
		if l.desc.Kind == format.KindControl {
			continue
		}
		if err := m.log(l, &k); err != nil {
			return err
		}
	}
	return nil
}

func (m *marking) log(l *threadLog, k *format.Keys) error {
	t := m.t
	rng := store.Prefix(binary.BigEndian.AppendUint32(t.key(keyRecord), l.num))
	it := m.snap.Iterate(rng)
	defer it.Close()
	for ; it.Valid(); it.Next() {
		if err := m.ctx.Err(); err != nil {
			return err
		}
		v, err := it.Value()
		if err != nil {
			return err
		}
		s, err := decodeStored(v)
		if err != nil {
			return err
		}
		key := it.Key() // ‖ seq u64be ‖ hash16
		id := clock.RecordID{Log: l.id, Seq: binary.BigEndian.Uint64(key[len(key)-24:]), Hash: format.RecordHash(t.id, s.Header)}
		e, err := t.openEntry(k.Read, id, s.Record)
		if err != nil {
			if m.refused(it.Key()) {
				continue // it has no effect, whatever it names
			}
			return err
		}
		var failed error
		m.names.Payload(e.Payload, func(id format.BlobID, list bool) {
			if failed == nil {
				failed = m.mark(id, list)
			}
		})
		if failed != nil {
			return failed
		}
	}
	return it.Err()
}

// refused reports whether the record under a key is kept without effect.
func (m *marking) refused(recordKey []byte) bool {
	k := slices.Clone(recordKey)
	k[len(m.t.key(keyRefused))-1] = keyRefused
	_, err := m.snap.Get(k)
	return err == nil
}

// mark marks a blob and, if it is a list, what that names.
func (m *marking) mark(id format.BlobID, list bool) error {
	n, err := m.number(id)
	if n == 0 || err != nil {
		return err
	}
	if n <= m.limit {
		if m.marks[n/64]&(1<<(n%64)) != 0 {
			return nil
		}
		m.marks[n/64] |= 1 << (n % 64)
	}
	if !list {
		return nil
	}
	plain, err := m.t.Blob(m.ctx, id)
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

// number returns the number of a blob that is held; 0 if it is not.
func (m *marking) number(id format.BlobID) (int64, error) {
	v, err := m.snap.Get(m.t.blobEntry(id))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err == nil && len(v) < 12 {
		err = fault.Of(format.ErrMalformed, "the entry of a blob is cut short")
	}
	if err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(v)), nil
}

// sweep deletes what is not marked, in steps.
func (m *marking) sweep() (count, bytes int64, err error) {
	t := m.t
	lower, upper := t.blobSeqKey(1), t.blobSeqKey(m.limit+1)
	it := m.snap.Iterate(store.Range{Lower: lower, Upper: upper})
	defer it.Close()
	var refs []BlobRef
	step := func() error {
		n, size, err := t.blobs.delete(refs)
		count, bytes, refs = count+n, bytes+size, refs[:0]
		return err
	}
	for ; it.Valid(); it.Next() {
		if err := m.ctx.Err(); err != nil {
			return count, bytes, err
		}
		k := it.Key()
		n := int64(binary.BigEndian.Uint64(k[len(k)-8:]))
		if m.marks[n/64]&(1<<(n%64)) != 0 {
			continue
		}
		v, err := it.Value()
		if err != nil {
			return count, bytes, err
		}
		if len(v) < 36 {
			return count, bytes, fault.Of(format.ErrMalformed, "the reference to a blob is cut short")
		}
		refs = append(refs, BlobRef{N: n, ID: format.BlobID(v[:32]), Size: int(binary.BigEndian.Uint32(v[32:]))})
		if len(refs) == 256 {
			if err := step(); err != nil {
				return count, bytes, err
			}
		}
	}
	if err := it.Err(); err != nil {
		return count, bytes, err
	}
	return count, bytes, step()
}

// delete deletes blobs that have the numbers they had: one stored again has another.
func (s *blobStore) delete(refs []BlobRef) (count, bytes int64, err error) {
	if len(refs) == 0 {
		return 0, 0, nil
	}
	s.files.Lock()
	defer s.files.Unlock()
	t := s.t
	if t.isClosed() {
		return 0, 0, ErrClosed
	}
	tx := t.env.store.Begin()
	defer tx.Discard()
	s.mu.Lock()
	gone, last, sum, fresh := s.gone, s.last, s.sum, s.fresh
	s.mu.Unlock()
	var files []string
	for _, r := range refs {
		if fresh.has(r.N, time.Now()) {
			continue
		}
		v, err := tx.Get(t.blobEntry(r.ID))
		if errors.Is(err, store.ErrNotFound) || err == nil && len(v) >= 12 && int64(binary.BigEndian.Uint64(v)) != r.N {
			continue
		}
		if err != nil {
			return 0, 0, err
		}
		if err := errors.Join(tx.Delete(t.blobEntry(r.ID)), tx.Delete(t.blobSeqKey(r.N))); err != nil {
			return 0, 0, err
		}
		if len(v) == 12 {
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
	if err := t.env.store.Sync(); err != nil {
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
func (s *blobStore) orphans(ctx context.Context) error {
	if s.t.env.dir == "" {
		return nil
	}
	dirs, err := os.ReadDir(s.dir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
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

func (s *blobStore) orphansIn(dir string) error {
	s.files.Lock()
	defer s.files.Unlock()
	if s.t.isClosed() {
		return ErrClosed
	}
	files, err := os.ReadDir(dir)
	for _, f := range files {
		if b, e := hex.DecodeString(f.Name()); e == nil && len(b) == 32 && s.t.HasBlob(format.BlobID(b)) {
			continue
		}
		err = errors.Join(err, os.Remove(filepath.Join(dir, f.Name())))
	}
	return err
}

// A goneBlobs says how much was deleted, so that what is held can be counted by numbers.
type goneBlobs struct{ count, bytes int64 }

func (g *goneBlobs) add(size int) { g.count, g.bytes = g.count+1, g.bytes+int64(size) }

// putGone writes, under number 0, how much is gone and where numbers have come to: the
// last blob may be deleted, and its number is not given again.
func (s *blobStore) putGone(tx store.Tx, gone goneBlobs, last, sum int64) error {
	var v []byte
	for _, n := range []int64{last, sum, gone.count, gone.bytes} {
		v = binary.BigEndian.AppendUint64(v, uint64(n))
	}
	return tx.Put(s.t.blobSeqKey(0), v)
}

// loadGone reads what putGone wrote.
func (s *blobStore) loadGone(r store.Reader) error {
	v, err := r.Get(s.t.blobSeqKey(0))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil && len(v) != 32 {
		err = fault.Of(format.ErrMalformed, "the count of blobs is cut short")
	}
	if err != nil {
		return err
	}
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(v[8*i:])) }
	s.last, s.sum, s.gone = at(0), at(1), goneBlobs{at(2), at(3)}
	return nil
}
