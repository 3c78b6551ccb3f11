package node

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/store"
)

// A handle holds the fold of one database and owns when it is in memory: its
// first use opens it, rest takes it out while nothing uses it, and the next use
// of the *db.DB that callers have kept loads it again. It is the only part of
// the node that asks a fold about that.
type handle struct {
	mu     sync.Mutex // guards closed; held while the fold opens or closes
	closed bool

	fold   atomic.Pointer[replica.Replica] // nil until it is first used
	peeked atomic.Pointer[replica.Folded]  // the state in the store while fold is nil

	uses uint64    // when the idle loop looked last, which alone has these two
	used time.Time // when it last saw that uses had changed
}

// get returns the fold, nil if nobody has used it yet.
func (h *handle) get() *replica.Replica { return h.fold.Load() }

// first returns the fold, which open opens if this is its first use. mu is held meanwhile,
// so of several who come first one opens and all get the same fold.
func (h *handle) first(open func() (*replica.Replica, error)) (fold *replica.Replica, opened bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, false, ErrClosed
	}
	if fold := h.get(); fold != nil {
		return fold, false, nil
	}
	if fold, err = open(); err != nil {
		return nil, false, err
	}
	h.fold.Store(fold)
	return fold, true, nil
}

// loaded reports whether the fold is in memory.
func (h *handle) loaded() bool {
	fold := h.get()
	return fold != nil && !fold.Suspended()
}

// wake tells the fold of new records. It reports whether it will fold them: one
// that is not in memory has to be used first.
func (h *handle) wake() bool {
	if fold := h.get(); fold != nil {
		fold.Wake()
	}
	return h.loaded()
}

// lastUse returns when the fold was last seen to have been used, now if it was
// since the last call.
func (h *handle) lastUse(now time.Time) time.Time {
	if fold := h.get(); fold != nil {
		if n := fold.Uses(); n != h.uses || h.used.IsZero() {
			h.uses, h.used = n, now
		}
	}
	return h.used
}

// rest takes the fold out of memory unless something uses it, and reports
// whether it is out.
func (h *handle) rest() bool {
	fold := h.get()
	return fold == nil || fold.Suspend()
}

// peek returns what the database was folded to when it was last in memory, from the store;
// ok is false if only opening it can tell. It is read once: without a fold in memory the
// state in the store does not change.
func (h *handle) peek(s store.Store, prefix []byte) (f replica.Folded, ok bool) {
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

// close closes the fold for good. It waits for a use that is opening the fold; later ones
// are told ErrClosed.
func (h *handle) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if fold := h.fold.Swap(nil); fold != nil {
		return fold.Close()
	}
	return nil
}
