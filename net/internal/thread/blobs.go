package thread

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weftdb/weft/internal/durable"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// maxInlineBlob is how many sealed bytes are kept in the store; larger blobs are
// files.
const maxInlineBlob = 64 << 10

// A BlobRef is a blob in the order in which this node stored a thread's blobs,
// from 1.
type BlobRef struct {
	N    int64
	ID   format.BlobID
	Size int // of the sealed bytes
}

// A blobStore keeps the sealed blobs of a thread: small ones in the store, larger
// ones as files.
//
// Invariant: an entry in the store names bytes that are whole and durable; what is
// durable has a number up to durable, and only that is listed to peers.
//
//	write     .tmp-1, renamed to ab/ab12…, many at once  a crash leaves .tmp-1, which load sweeps
//	          the files and folders synced together      or a file without entry, written again later
//	commit    entry ab12… → 8, and 8 → ab12…             one transaction for many blobs
//	sync      the store, once for the batch
//	durable   becomes 8
type blobStore struct {
	t *Thread

	files      sync.RWMutex // those who store share it, who deletes has it alone; before write
	write      sync.Mutex   // one writer of entries at a time
	collecting sync.Mutex   // one at a time
	holds      blobHolds

	mu      sync.Mutex // guards what follows
	last    int64      // number of the last blob
	durable int64      // number of the last that is synced
	sum     int64      // bytes of all blobs that have or had a number
	gone    goneBlobs  // of these: deleted, or stored again under another number
	fresh   freshBlobs // came from peers lately
}

// init joins the blobs to their thread, whose keys they use.
func (s *blobStore) init(t *Thread) { s.t = t }

// counts returns how many blobs are held, and their sealed bytes.
func (s *blobStore) counts() (count, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last - s.gone.count, s.sum - s.gone.bytes
}

// load reads the last number and the counts, which the last reference carries, or what
// was written when it was deleted.
func (s *blobStore) load(r store.Reader) error {
	if err := s.loadGone(r); err != nil {
		return err
	}
	s.durable = s.last
	rng := store.Prefix(s.t.key(keyBlobSeq))
	rng.Reverse, rng.Lower = true, s.t.blobSeqKey(s.last+1)
	it := r.Iterate(rng)
	defer it.Close()
	if !it.Valid() {
		return it.Err()
	}
	k := it.Key()
	v, err := it.Value()
	if err != nil {
		return err
	}
	if len(v) != 32+4+8 {
		return fault.Of(format.ErrMalformed, "the reference to a blob is cut short")
	}
	s.last = int64(binary.BigEndian.Uint64(k[len(k)-8:]))
	s.durable = s.last
	s.sum = int64(binary.BigEndian.Uint64(v[36:]))
	return nil
}

// tempPrefix begins the names of files that are being written.
const tempPrefix = ".tmp-"

// sweep removes the files that a crash left half written.
func (s *blobStore) sweep() error {
	if s.t.env.dir == "" {
		return nil
	}
	files, err := os.ReadDir(s.dir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), tempPrefix) {
			err = errors.Join(err, os.Remove(filepath.Join(s.dir(), f.Name())))
		}
	}
	if err != nil {
		return fmt.Errorf("sweep blobs: %w", err)
	}
	return nil
}

// dir is the folder of the thread's files; half of the ID tells threads apart.
func (s *blobStore) dir() string {
	return filepath.Join(s.t.env.dir, hex.EncodeToString(s.t.id[:8]))
}

// path spreads files over 256 folders by the first byte of their names.
func (s *blobStore) path(id format.BlobID) string {
	name := id.String()
	return filepath.Join(s.dir(), name[:2], name)
}

// remove deletes the files of a thread that is removed.
func (s *blobStore) remove() error {
	s.files.Lock()
	defer s.files.Unlock()
	if s.t.env.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir())
}

func (t *Thread) blobEntry(id format.BlobID) []byte { return append(t.key(keyBlob), id[:]...) }

func (t *Thread) blobSeqKey(n int64) []byte {
	return binary.BigEndian.AppendUint64(t.key(keyBlobSeq), uint64(n))
}

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
	t.mu.Lock()
	k := t.keys
	t.mu.Unlock()
	if !k.CanRead() {
		return nil, ErrNoKeys
	}
	ids, sealed, errs := make([]format.BlobID, len(plains)), make([][]byte, len(plains)), make([]error, len(plains))
	parallel(len(plains), func(i int) {
		if sealed[i], errs[i] = format.SealBlob(&k, t.id, plains[i]); errs[i] == nil {
			ids[i] = format.BlobIDOf(sealed[i])
		}
	})
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return ids, t.putBlobs(ctx, ids, sealed, true)
}

// Blob returns the plaintext of a blob that is held here, verified; ErrNotFound if
// it is not.
func (t *Thread) Blob(ctx context.Context, id format.BlobID) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sealed, err := t.SealedBlob(id)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	k := t.keys
	t.mu.Unlock()
	if !k.CanRead() {
		return nil, ErrNoKeys
	}
	return format.OpenBlob(&k, t.id, sealed)
}

// BlobOf is Blob of one whose plaintext has a known SHA-256 hash, and costs less:
// that hash alone decides. Of one that it refuses, Blob says what is wrong.
func (t *Thread) BlobOf(ctx context.Context, id format.BlobID, sum [32]byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sealed, err := t.sealedBlob(id)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	k := t.keys
	t.mu.Unlock()
	if !k.CanRead() {
		return nil, ErrNoKeys
	}
	return format.OpenBlobOf(&k, t.id, sealed, sum)
}

// HasBlob reports whether a blob is held.
func (t *Thread) HasBlob(id format.BlobID) bool {
	snap := t.env.store.Snapshot()
	defer snap.Release()
	_, err := snap.Get(t.blobEntry(id))
	return err == nil
}

// SealedBlob returns the sealed bytes of a blob, which were checked against its ID.
func (t *Thread) SealedBlob(id format.BlobID) ([]byte, error) {
	sealed, err := t.sealedBlob(id)
	if err == nil && format.BlobIDOf(sealed) != id {
		return nil, fault.Of(format.ErrSealed, "blob %s is altered on disk", id)
	}
	return sealed, err
}

// sealedBlob returns what the disk has of a blob, a copy, which nothing has
// checked.
func (t *Thread) sealedBlob(id format.BlobID) ([]byte, error) {
	snap := t.env.store.Snapshot()
	defer snap.Release()
	v, err := snap.Get(t.blobEntry(id))
	if errors.Is(err, store.ErrNotFound) {
		return nil, fault.Of(ErrNotFound, "no blob %s", id)
	}
	if err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	if len(v) < 12 {
		return nil, fault.Of(format.ErrMalformed, "the entry of a blob is cut short")
	}
	sealed := slices.Clone(v[12:])
	if len(sealed) == 0 {
		if sealed, err = os.ReadFile(t.blobs.path(id)); errors.Is(err, fs.ErrNotExist) {
			return nil, fault.Of(ErrNotFound, "no blob %s", id)
		} else if err != nil {
			return nil, fmt.Errorf("blob: %w", err)
		}
	}
	return sealed, nil
}

// PutSealedBlobs stores blobs of another node, durably, under the IDs that their
// bytes give.
func (t *Thread) PutSealedBlobs(ctx context.Context, sealed [][]byte) error {
	ids := make([]format.BlobID, len(sealed))
	for i, b := range sealed {
		if len(b) < format.BlobHead || len(b) > format.MaxSealedBlob {
			return fault.Of(format.ErrTooLarge, "blob of %d bytes", len(b))
		}
		ids[i] = format.BlobIDOf(b)
	}
	return t.putBlobs(ctx, ids, sealed, false)
}

// putBlobs stores sealed blobs that were checked against their IDs. Files are
// synced before the references to them, which share one sync. With again, blobs that are
// held already get new numbers.
func (t *Thread) putBlobs(ctx context.Context, ids []format.BlobID, sealed [][]byte, again bool) error {
	s := &t.blobs
	s.files.RLock()
	defer s.files.RUnlock()
	if t.isClosed() {
		return ErrClosed
	}
	if err := s.writeFiles(ctx, ids, sealed); err != nil {
		return fmt.Errorf("blob: %w", err)
	}
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.putRefs(ids, sealed, again); err != nil {
		return err
	}
	if err := t.env.store.Sync(); err != nil {
		return fmt.Errorf("blob: %w", err)
	}
	s.mu.Lock()
	s.durable = s.last
	s.mu.Unlock()
	t.grew.Ring()
	return nil
}

// writeFiles writes the blobs that are files and are not here, and returns when
// they and their names are durable.
func (s *blobStore) writeFiles(ctx context.Context, ids []format.BlobID, sealed [][]byte) error {
	var fresh []int
	seen := map[format.BlobID]bool{}
	for i, id := range ids {
		if len(sealed[i]) > maxInlineBlob && !seen[id] && !s.t.HasBlob(id) {
			seen[id], fresh = true, append(fresh, i)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	folders := map[string]bool{s.dir(): true, s.t.env.dir: true, filepath.Dir(s.t.env.dir): true}
	for _, i := range fresh {
		folders[filepath.Dir(s.path(ids[i]))] = true
	}
	for folder := range folders {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
	}
	written, errs := make([]string, len(fresh)), make([]error, len(fresh))
	parallel(len(fresh), func(n int) {
		if errs[n] = ctx.Err(); errs[n] == nil {
			written[n], errs[n] = s.writeFile(ids[fresh[n]], sealed[fresh[n]])
		}
	})
	if err := errors.Join(errs...); err != nil {
		return err
	}
	names := slices.AppendSeq(written, maps.Keys(folders))
	return durable.Sync(len(names), func(i int) (*os.File, error) { return os.Open(names[i]) })
}

// writeFile writes a blob under a temporary name and renames it. The caller syncs
// both: until the store names it, a blob is written again.
func (s *blobStore) writeFile(id format.BlobID, sealed []byte) (string, error) {
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

// putRefs commits the entries of blobs that are new, and with again the new numbers of
// those that are not, in as many transactions as it takes.
func (s *blobStore) putRefs(ids []format.BlobID, sealed [][]byte, again bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.t
	tx := t.env.store.Begin()
	defer func() { tx.Discard() }()
	begin, last, sum, gone := s.last, s.last, s.sum, s.gone
	commit := func() error {
		if gone != s.gone {
			if err := s.putGone(tx, gone, last, sum); err != nil {
				return fmt.Errorf("blob: %w", err)
			}
		}
		if err := tx.Commit(); err != nil {
			return fmt.Errorf("blob: %w", err)
		}
		s.last, s.sum, s.gone = last, sum, gone
		return nil
	}
	for i, id := range ids {
		size := len(sealed[i])
		if used := tx.Used(); used.Bytes+size%maxInlineBlob+2048 > t.env.store.Limits().Bytes || used.Puts+4 > t.env.store.Limits().Puts {
			if err := commit(); err != nil {
				return err
			}
			tx = t.env.store.Begin()
		}
		old, err := tx.Get(t.blobEntry(id))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("blob: %w", err)
		}
		if len(old) >= 12 {
			n := int64(binary.BigEndian.Uint64(old))
			if !again {
				s.fresh.add(n, time.Now())
			}
			if !again || n > begin { // it has a new number already
				continue
			}
			if err := tx.Delete(t.blobSeqKey(n)); err != nil {
				return fmt.Errorf("blob: %w", err)
			}
			gone.add(size)
		}
		last, sum = last+1, sum+int64(size)
		if !again {
			s.fresh.add(last, time.Now())
		}
		entry := binary.BigEndian.AppendUint64(nil, uint64(last))
		entry = binary.BigEndian.AppendUint32(entry, uint32(size))
		if size <= maxInlineBlob {
			entry = append(entry, sealed[i]...)
		}
		ref := binary.BigEndian.AppendUint32(slices.Clone(id[:]), uint32(size))
		ref = binary.BigEndian.AppendUint64(ref, uint64(sum))
		if err := errors.Join(tx.Put(t.blobEntry(id), entry), tx.Put(t.blobSeqKey(last), ref)); err != nil {
			return fmt.Errorf("blob: %w", err)
		}
	}
	return commit()
}

// BlobsAfter returns at most limit blobs that were stored after the n-th, in order; only
// durable ones. There are no others up to number upTo.
func (t *Thread) BlobsAfter(n int64, limit int) (refs []BlobRef, upTo int64, err error) {
	t.blobs.mu.Lock()
	durable := t.blobs.durable
	t.blobs.mu.Unlock()
	snap := t.env.store.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Range{Lower: t.blobSeqKey(n + 1), Upper: store.PrefixEnd(t.key(keyBlobSeq))})
	defer it.Close()
	for ; it.Valid() && len(refs) < limit; it.Next() {
		k := it.Key()
		v, err := it.Value()
		if err != nil {
			return nil, n, fmt.Errorf("blobs: %w", err)
		}
		if len(v) < 36 {
			return nil, n, fault.Of(format.ErrMalformed, "the reference to a blob is cut short")
		}
		r := BlobRef{N: int64(binary.BigEndian.Uint64(k[len(k)-8:])), ID: format.BlobID(v[:32]), Size: int(binary.BigEndian.Uint32(v[32:]))}
		if r.N > durable {
			break
		}
		refs = append(refs, r)
	}
	if upTo = max(n, durable); len(refs) == limit {
		upTo = refs[len(refs)-1].N
	}
	return refs, upTo, it.Err()
}

// LastBlob returns the number of the last blob that is durable.
func (t *Thread) LastBlob() int64 {
	t.blobs.mu.Lock()
	defer t.blobs.mu.Unlock()
	return t.blobs.durable
}
