// Package parallel does many pieces of work, a few at a time.
package parallel

import (
	"sync"
	"sync/atomic"
)

// workers bounds how many cores one piece of work takes: others want some, too.
const workers = 2

// Do calls f for 0…n-1 on more than one core, and waits for all.
func Do(n int, f func(i int)) { DoBy(workers, n, f) }

// DoBy is Do of what waits rather than computes, by so many workers.
func DoBy(workers, n int, f func(i int)) {
	if n < 2 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	work := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			f(i)
		}
	}
	for range min(n, workers) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}
