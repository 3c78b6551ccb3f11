package store

import (
	"errors"
	"runtime"
	"sync"
	"testing"
)

// TestSyncShared holds one sync open while others arrive: they must all share
// exactly one more, which begins after they came.
func TestSyncShared(t *testing.T) {
	began, release := make(chan struct{}), make(chan error)
	count := 0
	g := syncGroup{sync: func() error {
		count++ // rounds never overlap; the race detector would tell
		began <- struct{}{}
		return <-release
	}}
	var wg sync.WaitGroup
	wg.Go(func() { _ = g.wait() })
	<-began
	const callers = 20
	fault := errors.New("disk")
	for range callers {
		wg.Go(func() {
			if err := g.wait(); !errors.Is(err, fault) {
				t.Errorf("got %v, want the shared sync's error", err)
			}
		})
	}
	// All callers have joined when the next round exists and every one of
	// them is counted by it.
	for joined := 0; joined < callers; {
		g.mu.Lock()
		if g.next != nil {
			joined = g.next.callers
		}
		g.mu.Unlock()
		runtime.Gosched()
	}
	release <- nil
	<-began
	release <- fault
	wg.Wait()
	if count != 2 {
		t.Errorf("got %d syncs for %d callers, want 2", count, callers+1)
	}
}
