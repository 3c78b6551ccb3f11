// Package handle holds folds of databases in memory while they are used.
package handle

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// ErrClosed reports a use after Close.
var ErrClosed = fault.New(fault.Closed, "the node is closed")

// A Handle holds the fold of one database and owns when it is in memory: its
// first use opens it, Rest takes it out while nothing uses it, and the next use
// of the *db.DB that callers have kept loads it again. It is the only part of
// the node that asks a fold about that. The zero value is ready.
type Handle struct {
	mu     sync.Mutex // guards closed; held while the fold opens or closes
	closed bool

	fold   atomic.Pointer[replica.Replica] // nil until it is first used
	peeked atomic.Pointer[replica.Folded]  // the state in the store while fold is nil

	uses uint64    // when the idle loop looked last, which alone has these two
	used time.Time // when it last saw that uses had changed
}

// Get returns the fold, nil if nobody has used it yet.
func (h *Handle) Get() *replica.Replica { return h.fold.Load() }

// First returns the fold, which open opens if this is its first use. mu is held meanwhile,
// so of several who come first one opens and all get the same fold.
func (h *Handle) First(open func() (*replica.Replica, error)) (fold *replica.Replica, opened bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, false, ErrClosed
	}
	if fold := h.Get(); fold != nil {
		return fold, false, nil
	}
	if fold, err = open(); err != nil {
		return nil, false, err
	}
	h.fold.Store(fold)
	return fold, true, nil
}

// Loaded reports whether the fold is in memory.
func (h *Handle) Loaded() bool {
	fold := h.Get()
	return fold != nil && !fold.Suspended()
}

// Wake tells the fold of new records. It reports whether it will fold them: one
// that is not in memory has to be used first.
func (h *Handle) Wake() bool {
	if fold := h.Get(); fold != nil {
		fold.Wake()
	}
	return h.Loaded()
}

// LastUse returns when the fold was last seen to have been used, now if it was
// since the last call.
func (h *Handle) LastUse(now time.Time) time.Time {
	if fold := h.Get(); fold != nil {
		if n := fold.Uses(); n != h.uses || h.used.IsZero() {
			h.uses, h.used = n, now
		}
	}
	return h.used
}

// Rest takes the fold out of memory unless something uses it, and reports
// whether it is out.
func (h *Handle) Rest() bool {
	fold := h.Get()
	return fold == nil || fold.Suspend()
}

// Peek returns what the database was folded to when it was last in memory, from the store;
// ok is false if only opening it can tell. It is read once: without a fold in memory the
// state in the store does not change.
func (h *Handle) Peek(s store.Store, prefix []byte) (f replica.Folded, ok bool) {
	if p := h.peeked.Load(); p != nil {
		return *p, true
	}
	snap := s.Snapshot()
	defer snap.Release()
	p, ok, err := replica.PeekState(snap, prefix)
	if err != nil || !ok {
		return p, false
	}
	h.peeked.Store(&p)
	return p, true
}

// Close closes the fold for good. It waits for a use that is opening the fold; later ones
// are told ErrClosed.
func (h *Handle) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if fold := h.fold.Swap(nil); fold != nil {
		return fold.Close()
	}
	return nil
}
