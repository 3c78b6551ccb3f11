package bell

import (
	"sync"
	"testing"
)

func TestRingWakesWhoWaits(t *testing.T) {
	var b Bell
	b.Ring() // nobody waits
	first, same := b.Wait(), b.Wait()
	select {
	case <-first:
		t.Fatal("woken by a ring before the wait")
	default:
	}
	b.Ring()
	<-first
	<-same
	select {
	case <-b.Wait():
		t.Fatal("a new wait was over at once")
	default:
	}
}

// A change that is made after Wait is never missed.
func TestNoChangeIsMissed(t *testing.T) {
	var b Bell
	var mu sync.Mutex
	n := 0
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				rung := b.Wait()
				mu.Lock()
				done := n == 1000
				mu.Unlock()
				if done {
					return
				}
				<-rung
			}
		})
	}
	for range 1000 {
		mu.Lock()
		n++
		mu.Unlock()
		b.Ring()
	}
	wg.Wait()
}
