package store

import "sync"

// A syncGroup lets the callers that arrive while a sync runs share the next
// one.
type syncGroup struct {
	sync func() error

	mu   sync.Mutex // guards next, last
	next *syncRound // has not begun; arrivals join it
	last *syncRound // runs or has ended
}

type syncRound struct {
	callers int           // guarded by the group's mu
	done    chan struct{} // closed after err is set
	err     error
}

// wait returns the result of a sync that began after the call.
func (g *syncGroup) wait() error {
	g.mu.Lock()
	if r := g.next; r != nil {
		r.callers++
		g.mu.Unlock()
		<-r.done
		return r.err
	}
	r, prev := &syncRound{callers: 1, done: make(chan struct{})}, g.last
	g.next = r
	g.mu.Unlock()
	if prev != nil {
		<-prev.done
	}
	g.mu.Lock()
	g.next, g.last = nil, r
	g.mu.Unlock()
	r.err = g.sync()
	close(r.done)
	return r.err
}
