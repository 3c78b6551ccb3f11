package durable

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// A few files are synced each; many cost one sync where the system has one for
// all, and no file is left open or unnamed either way.
func TestSync(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []int{0, 1, few, few + 1, 200} {
		var opened atomic.Int64
		err := Sync(n, func(i int) (*os.File, error) {
			opened.Add(1)
			return os.Create(filepath.Join(dir, string(rune('a'+i))))
		})
		if got := opened.Load(); err != nil || got != int64(n) && (n <= few || got != 1) {
			t.Errorf("%d files: opened %d, %v", n, got, err)
		}
	}
	broken := errors.New("broken")
	for _, n := range []int{1, few + 1} {
		if err := Sync(n, func(int) (*os.File, error) { return nil, broken }); !errors.Is(err, broken) {
			t.Errorf("%d files: got %v", n, err)
		}
	}
}
