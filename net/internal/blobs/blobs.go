// Package blobs keeps the sealed blobs of one thread: small ones in the store, larger
// ones as files. It knows no record: package thread has the keys, and says what records
// name.
//
//	Put, Open              sealed and opened with the thread's keys            seal
//	Take, Has, Sealed      sealed bytes, which peers exchange                  put, blobs
//	After, Last            in the order in which they came                     blobs, rows
//	Hold, Collect          what no record names any more                       holds, collect, fresh
//	Load, Sweep, Remove    a thread is opened; removed                         blobs
//	Check, Refill          whether all is whole; what of it a new thread has   check, refill
//	Drop, Lacks, Retake    what was held and is damaged, until it is back      lacks
//
// Invariant: a row in the store names bytes that are whole and durable; what is
// durable has a number up to durable, and only that is listed to peers.
//
//	write     .tmp-1, renamed to ab/ab12…, many at once  a crash leaves .tmp-1, which Sweep removes
//	          the files and folders synced together      or a file without row, written again later
//	commit    row ab12… → 8, and 8 → ab12…             one transaction for many blobs
//	sync      the store, once for the batch
//	durable   becomes 8
//
// The rows, and the folder of the files: docs/design/net.md. The package builds for a
// browser.
package blobs

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weftdb/weft/internal/bell"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// A Config is what a Store has of its thread.
type Config struct {
	Store store.Store
	Dir   string // of the files of all threads; "" if there are none
	ID    format.ThreadID
	Rows  []byte // begins the keys of the rows: ‖ blob ID
	Refs  []byte // begins the keys of the references: ‖ number u64be
	Lacks []byte // begins the keys of what was held and is not: ‖ blob ID
	Fresh []byte // the key of what came from peers lately

	// Keys returns the keys of the thread, or why there are none that read.
	Keys func() (format.Keys, error)
	// Writable returns why nothing may be written, nil while it may. It is called with
	// the lock of the files held, so that nothing is written after Remove.
	Writable func() error
	Grew     *bell.Bell // rung when more is durable
}

// A Store keeps the blobs of a thread. It is safe for concurrent use, but for Sweep and
// Load. Its locks are taken in the order in which they stand here.
type Store struct {
	thread Config

	collecting sync.Mutex   // one at a time
	files      sync.RWMutex // those who store share it, who deletes has it alone
	write      sync.Mutex   // one writer of rows at a time
	holds      holds

	mu      sync.Mutex // guards what follows
	last    int64      // number of the last blob
	durable int64      // number of the last that is synced
	sum     int64      // bytes of all blobs that have or had a number
	gone    tally      // of these: deleted, or stored again under another number
	lacks   int64      // how many were held and are not
	fresh   freshRuns  // came from peers lately
}

// A Ref is a blob in the order in which this node stored a thread's blobs, from 1.
type Ref struct {
	N    int64
	ID   format.BlobID
	Size int // of the sealed bytes
}

// New returns the blob store of a thread, which holds nothing until Load.
func New(c Config) *Store { return &Store{thread: c} }

// Counts returns how many blobs are held, and their sealed bytes.
func (s *Store) Counts() (count, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last - s.gone.count, s.sum - s.gone.bytes
}

// Load reads the last number and the counts, which the last reference carries, or what
// was written when it was deleted.
func (s *Store) Load(r store.Reader) error {
	if err := errors.Join(s.loadGone(r), s.loadLacks(r), s.loadFresh(r, time.Now())); err != nil {
		return err
	}
	s.durable = s.last
	rng := store.Prefix(s.thread.Refs)
	rng.Reverse, rng.Lower = true, s.refKey(s.last+1)
	it := r.Iterate(rng)
	defer it.Close()
	if !it.Valid() {
		return it.Err()
	}
	v, err := it.Value()
	if err != nil {
		return err
	}
	if len(v) != refSize {
		return fault.Of(format.ErrMalformed, "the reference to a blob is cut short")
	}
	s.last, s.sum = refNumber(it.Key()), refSum(v)
	s.durable = s.last
	return nil
}

// tempPrefix begins the names of files that are being written.
const tempPrefix = ".tmp-"

// Sweep removes the files that a crash left half written.
func (s *Store) Sweep() error {
	files, err := s.listing()
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

// listing returns what is in the folder of the thread's files, if there is one.
func (s *Store) listing() ([]fs.DirEntry, error) {
	if s.thread.Dir == "" {
		return nil, nil
	}
	files, err := os.ReadDir(s.dir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return files, err
}

// dir is the folder of the thread's files; half of the ID tells threads apart.
func (s *Store) dir() string {
	return filepath.Join(s.thread.Dir, hex.EncodeToString(s.thread.ID[:8]))
}

// path spreads files over 256 folders by the first byte of their names.
func (s *Store) path(id format.BlobID) string {
	name := id.String()
	return filepath.Join(s.dir(), name[:2], name)
}

// Remove deletes the files of a thread that is removed, and cannot be written any more.
// Its rows are deleted with the thread's.
func (s *Store) Remove() error {
	s.files.Lock()
	defer s.files.Unlock()
	if s.thread.Dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir())
}

// Has reports whether a blob is held.
func (s *Store) Has(id format.BlobID) bool {
	snap := s.thread.Store.Snapshot()
	defer snap.Release()
	_, err := snap.Get(s.rowKey(id))
	return err == nil
}

// Sealed returns the sealed bytes of a blob, which were checked against its ID;
// ErrNotFound if it is not held, ErrDamagedBlob if the disk has others or none.
func (s *Store) Sealed(id format.BlobID) ([]byte, error) {
	sealed, err := s.read(id)
	if err == nil && format.BlobIDOf(sealed) != id {
		return nil, fault.Of(ErrDamagedBlob, "blob %s is altered on disk", id)
	}
	return sealed, err
}

// read returns what the disk has of a blob, a copy, which nothing has checked. A blob that
// is deleted meanwhile loses its row before its file.
func (s *Store) read(id format.BlobID) ([]byte, error) {
	snap := s.thread.Store.Snapshot()
	defer snap.Release()
	v, err := s.row(snap, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fault.Of(ErrNotFound, "no blob %s", id)
	}
	if err != nil {
		return nil, fmt.Errorf("blob: %w", err)
	}
	sealed := slices.Clone(v[rowHead:])
	if len(sealed) == 0 {
		if sealed, err = os.ReadFile(s.path(id)); errors.Is(err, fs.ErrNotExist) && !s.Has(id) {
			return nil, fault.Of(ErrNotFound, "no blob %s", id)
		} else if err != nil && gone(err) {
			return nil, fault.Of(ErrDamagedBlob, "blob %s cannot be read: %w", id, err)
		} else if err != nil {
			return nil, fmt.Errorf("blob: %w", err)
		}
	}
	return sealed, nil
}

// gone reports whether an error of reading a file is one of this file and not of the
// moment, as when too many are open.
func gone(err error) bool {
	failed, ok := errors.AsType[*fs.PathError](err)
	return ok && (failed.Op != "open" || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission))
}

// After returns at most limit blobs that were stored after the n-th, in order; only
// durable ones. There are no others up to number upTo.
func (s *Store) After(n int64, limit int) (refs []Ref, upTo int64, err error) {
	durable := s.Last()
	snap := s.thread.Store.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Range{Lower: s.refKey(n + 1), Upper: store.PrefixEnd(s.thread.Refs)})
	defer it.Close()
	for ; it.Valid() && len(refs) < limit; it.Next() {
		v, err := it.Value()
		if err != nil {
			return nil, n, fmt.Errorf("blobs: %w", err)
		}
		r, err := decodeRef(it.Key(), v)
		if err != nil {
			return nil, n, err
		}
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

// Last returns the number of the last blob that is durable.
func (s *Store) Last() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.durable
}

// nowDurable notes that all that was stored is synced, and says so.
func (s *Store) nowDurable() {
	s.mu.Lock()
	s.durable = s.last
	s.mu.Unlock()
	s.thread.Grew.Ring()
}
