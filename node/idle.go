package node

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// A node keeps the databases loaded that are used. One that is not loaded is a
// thread, which goes on exchanging records, and keys in the store; its next use,
// or what arrives for it, loads it.
const (
	defaultMaxLoaded = 64
	defaultIdle      = time.Minute
	loadAtOnce       = 4 // in the background, for what arrives
)

// slots bound how many do something at once. Who has taken one gives it back; take reports
// false when ctx ended first.
type slots chan struct{}

func (s slots) take(ctx context.Context) bool {
	select {
	case s <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s slots) give() { <-s }

// crowded notes that a database was loaded; it never blocks.
func (n *Node) crowded() {
	select {
	case n.crowd <- struct{}{}:
	default:
	}
}

// startIdle begins to take databases that nobody uses out of memory.
func (n *Node) startIdle(context.Context) error {
	idle, most := cmp.Or(n.cfg.Idle, defaultIdle), cmp.Or(n.cfg.MaxLoaded, defaultMaxLoaded)
	if idle < 0 && most < 0 {
		return nil
	}
	n.background(func(ctx context.Context) {
		every := time.Hour
		if idle > 0 {
			every = max(idle/4, time.Millisecond)
		}
		look := time.NewTicker(every)
		defer look.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
			case <-n.crowd:
			}
			restIdle(n.allLoaded(), idle, most, time.Now())
		}
	})
	return nil
}

// restIdle takes out of memory the databases that were not used for idle, and the
// longest unused of more than most. What is in use stays.
func restIdle(loaded []*database, idle time.Duration, most int, now time.Time) {
	used := make(map[*database]time.Time, len(loaded))
	for _, d := range loaded {
		used[d] = d.LastUse(now)
	}
	slices.SortFunc(loaded, func(a, b *database) int { return used[a].Compare(used[b]) })
	left := len(loaded)
	for _, d := range loaded {
		crowded := most >= 0 && left > most
		if !crowded && (idle < 0 || now.Sub(used[d]) < idle) {
			break // those after it were used later
		}
		if d.Rest() {
			left--
		}
	}
}

// allLoaded returns the databases that are in memory, in no order.
func (n *Node) allLoaded() []*database {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []*database
	for _, d := range n.databases {
		if d.Loaded() {
			out = append(out, d)
		}
	}
	return out
}

// Loaded returns how many databases are in memory now.
func (n *Node) Loaded() int { return len(n.allLoaded()) }
