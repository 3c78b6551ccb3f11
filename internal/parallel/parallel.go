// Package parallel does a bounded piece of work on more than one core.
package parallel

import (
	"sync"
	"sync/atomic"
)

// workers bounds how many cores one piece of work takes: others want some, too.
const workers = 2

// Do calls f for 0…n-1, some at the same time, and waits for all.
func Do(n int, f func(i int)) {
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
