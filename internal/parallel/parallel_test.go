package parallel_test

import (
	"sync/atomic"
	"testing"

	"github.com/weftdb/weft/internal/parallel"
)

// Each is called once, whatever the number.
func TestDo(t *testing.T) {
	for _, n := range []int{0, 1, 2, 1000} {
		called := make([]atomic.Int64, n)
		parallel.Do(n, func(i int) { called[i].Add(1) })
		for i := range called {
			if got := called[i].Load(); got != 1 {
				t.Errorf("of %d: %d was called %d times", n, i, got)
			}
		}
	}
}
