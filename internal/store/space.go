package store

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// ReserveFile is the name of the file in a store's folder that holds nothing but
// room. It does not count as the store's.
const ReserveFile = "RESERVE"

// How much of a disk is kept free, by its size: small disks can be used too.
const (
	maxLow     = 16 << 20 // bytes; below, writes are refused
	maxReserve = 4 << 20  // bytes of the reserve
	lookAgain  = time.Millisecond
	tryAgain   = 100 * time.Millisecond
	makeRoom   = 10 * time.Second // how long a write under way waits for room
)

// A Space watches the disk that holds a store. It refuses writes before the disk is
// full, and keeps a reserve there: a file that it gives up when something that is
// under way finds the disk full, so that it can end. When there is room, writes go
// on and the reserve is made again.
type Space struct {
	dir     string
	low     uint64 // bytes that stay free
	reserve int64  // bytes of the reserve

	mu     sync.Mutex // guards the fields below
	looked time.Time
	since  int   // bytes written since then
	full   error // why writes are refused; nil while they are not
	held   bool  // the reserve is there
	closed bool
}

// OpenSpace watches the disk of dir, a folder. If it is full, the reserve is given up
// for what an opening has to write.
func OpenSpace(dir string) *Space {
	s := &Space{dir: dir}
	free, total, ok := diskSpace(dir)
	if !ok {
		return s // a system that does not tell: an engine's own error comes later
	}
	s.low = min(maxLow, total/16)
	s.reserve = int64(min(maxReserve, total/16))
	fi, err := os.Stat(s.path())
	s.held = err == nil && fi.Size() > 0
	s.mu.Lock()
	defer s.mu.Unlock()
	if free < s.low {
		s.yield()
	}
	s.look()
	return s
}

func (s *Space) path() string { return filepath.Join(s.dir, ReserveFile) }

// Check returns ErrDiskFull if n bytes more would take the disk below what stays
// free, else nil.
func (s *Space) Check(n int) error {
	if s == nil || s.low == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since += n
	if s.full == nil && uint64(s.since) < s.low/4 && time.Since(s.looked) < lookAgain {
		return nil
	}
	s.look()
	return s.full
}

// Full returns ErrDiskFull while writes are refused, else nil.
func (s *Space) Full() error { return s.Check(0) }

// Holds returns ErrDiskFull unless n bytes more leave free what stays free.
func (s *Space) Holds(n int64) error {
	if s == nil {
		return nil
	}
	if free, _, ok := diskSpace(s.dir); ok && free < s.low+uint64(n) {
		return DiskFull(s.dir)
	}
	return nil
}

// Free returns how many bytes may be written to the disk that holds dir; known is
// false where the system does not tell.
func Free(dir string) (free int64, known bool) {
	n, _, ok := diskSpace(dir)
	return int64(min(n, math.MaxInt64)), ok
}

// look asks the system; mu is held.
func (s *Space) look() {
	free, _, ok := diskSpace(s.dir)
	if !ok {
		return
	}
	s.looked, s.since = time.Now(), 0
	low := s.low
	if s.full != nil {
		low += s.low / 4 // not to and fro
	}
	if free < low {
		s.full = DiskFull(s.dir)
		return
	}
	s.full = nil
	if !s.held && free > low+2*uint64(s.reserve) {
		s.held = s.fill() == nil
	}
}

// fill makes the reserve of bytes that the disk really gives.
func (s *Space) fill() error {
	f, err := os.OpenFile(s.path(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	chunk := make([]byte, 1<<20)
	for left := s.reserve; left > 0 && err == nil; left -= int64(len(chunk)) {
		_, err = f.Write(chunk[:min(left, int64(len(chunk)))])
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(s.path()))
	}
	return nil
}

// yield gives the reserve up; mu is held.
func (s *Space) yield() {
	if s.held && os.Remove(s.path()) == nil {
		s.held = false
	}
}

// Wait is for a write under way that found the disk full. It gives the reserve up and
// returns when there is some room, at the latest after ten seconds or when the store
// closes.
func (s *Space) Wait() {
	if s == nil {
		return
	}
	again := time.NewTicker(tryAgain)
	defer again.Stop()
	for end := time.Now().Add(makeRoom); ; <-again.C {
		s.mu.Lock()
		s.yield()
		s.full = DiskFull(s.dir)
		free, _, ok := diskSpace(s.dir)
		closed := s.closed
		s.mu.Unlock()
		if !ok || closed || free > min(s.low/8, 1<<20) || time.Now().After(end) {
			return
		}
	}
}

// Yield is for a write under way that found the disk full and cannot wait. It reports
// whether giving the reserve up has made room.
func (s *Space) Yield() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = DiskFull(s.dir)
	if !s.held {
		return false
	}
	s.yield()
	return !s.held
}

// end lets nobody wait any longer.
func (s *Space) end() {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
}
