package mux

import (
	"sync"

	"github.com/libp2p/go-yamux/v5"

	"github.com/weftdb/weft/internal/fault"
)

// maxWindows bounds what the windows of one session's streams may grow by, beyond the
// 256 KiB that each begins with.
const maxWindows = 16 << 20

// A budget lets the windows of a session grow while there is room.
type budget struct {
	mu   sync.Mutex // guards used, and the shares; taken last
	used int
}

// A share is what one stream has of a budget.
type share struct {
	budget *budget
	mine   int
	opened bool
}

func (b *budget) share() (yamux.MemoryManager, error) { return &share{budget: b}, nil }

// ReserveMemory takes the window that a stream opens with as it is, and grants more
// while there is room.
func (s *share) ReserveMemory(size int, _ uint8) error {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	if !s.opened {
		s.opened = true
		return nil
	}
	if s.budget.used+size > maxWindows {
		return fault.Errorf(fault.LimitReached, "the windows of the session are at their limit")
	}
	s.budget.used += size
	s.mine += size
	return nil
}

// ReleaseMemory gives back a part.
func (s *share) ReleaseMemory(size int) {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	size = min(size, s.mine)
	s.budget.used -= size
	s.mine -= size
}

// Done gives back the rest.
func (s *share) Done() { s.ReleaseMemory(1 << 30) }
