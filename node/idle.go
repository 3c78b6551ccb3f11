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

// slots bound how many do something at once.
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

// loaded notes that a database was loaded; it never blocks.
func (n *Node) loaded() {
	select {
	case n.crowd <- struct{}{}:
	default:
	}
}

// startIdle begins to close databases that nobody uses.
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
		uses := map[*database]usage{}
		for {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
			case <-n.crowd:
			}
			n.closeIdle(uses, idle, most, time.Now())
		}
	})
	return nil
}

// A usage says when a database was last seen to have been used.
type usage struct {
	count uint64
	at    time.Time
}

// closeIdle suspends the databases that were not used for idle, and the longest
// unused of more than most. What is in use stays.
func (n *Node) closeIdle(uses map[*database]usage, idle time.Duration, most int, now time.Time) {
	loaded := n.allLoaded()
	for d := range uses {
		if !slices.Contains(loaded, d) {
			delete(uses, d)
		}
	}
	for _, d := range loaded {
		fold := d.fold.Load()
		if fold == nil {
			continue // closed since
		}
		if count := fold.Uses(); uses[d].count != count || uses[d].at.IsZero() {
			uses[d] = usage{count, now}
		}
	}
	slices.SortFunc(loaded, func(a, b *database) int { return uses[a].at.Compare(uses[b].at) })
	left := len(loaded)
	for _, d := range loaded {
		crowded := most >= 0 && left > most
		if !crowded && (idle < 0 || now.Sub(uses[d].at) < idle) {
			break // those after it were used later
		}
		if fold := d.fold.Load(); fold == nil || fold.Suspend() {
			left--
		}
	}
}

// allLoaded returns the databases that are loaded, in no order.
func (n *Node) allLoaded() []*database {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []*database
	for _, d := range n.databases {
		if fold := d.fold.Load(); fold != nil && !fold.Suspended() {
			out = append(out, d)
		}
	}
	return out
}

// Loaded returns how many databases are in memory now.
func (n *Node) Loaded() int { return len(n.allLoaded()) }
