package badgerkv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// holdsLock says that badger itself has to keep others out.
const holdsLock = false

// lock finds out whether another process has the store in dir: badger keeps its file
// LOCK open there for itself. Badger's own open takes the lock.
func lock(dir string) (release func() error, err error) {
	f, err := os.Open(filepath.Join(dir, "LOCK"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return func() error { return nil }, nil
	case err != nil:
		return nil, fmt.Errorf("lock %s: %w", dir, errors.Join(syscall.EWOULDBLOCK, err))
	}
	return func() error { return nil }, f.Close()
}
