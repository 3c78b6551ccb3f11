package blobs

import (
	"context"
	"sync"
	"time"

	"github.com/weftdb/weft/internal/fault"
)

// holdsFor is how long collecting waits for those who hold blobs.
const holdsFor = 10 * time.Second

// holds are those who store or read blobs now, by numbers in the order of their
// beginning.
type holds struct {
	mu     sync.Mutex // guards what follows
	next   int64
	active map[int64]struct{}
	ended  chan struct{} // closed when one ends; nil if nobody waits
}

// Hold keeps collecting from deleting what its caller stores, or finds named, until
// release, which may be called twice.
func (s *Store) Hold() (release func()) {
	h := &s.holds
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
func (h *holds) settle(ctx context.Context) error {
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
