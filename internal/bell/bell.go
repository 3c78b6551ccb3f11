// Package bell is a broadcast: everybody who waits is woken at once.
//
//	rung := b.Wait()      before looking at the state
//	if !ready() {
//		<-rung            woken by the next Ring after Wait, whenever that was
//	}
//
// Taking the channel first is what makes it sound: a change between the look and
// the wait has closed the channel already. The package imports nothing of ours.
package bell

import "sync"

// A Bell wakes whoever waits. The zero value is ready, and safe for concurrent
// use; it holds no channel while nobody waits.
type Bell struct {
	mu sync.Mutex // guards ch; taken last, nothing is called with it held
	ch chan struct{}
}

// Wait returns a channel that the next [Bell.Ring] closes.
func (b *Bell) Wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

// Ring wakes everybody who has called [Bell.Wait] since the last Ring.
func (b *Bell) Ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}
