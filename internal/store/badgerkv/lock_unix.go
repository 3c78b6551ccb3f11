//go:build unix

package badgerkv

import (
	"fmt"
	"os"
	"syscall"
)

// holdsLock says that lock keeps others out until release, so that badger need not.
const holdsLock = true

// lock keeps other processes from the store in dir, as badger does, until release.
func lock(dir string) (release func() error, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return d.Close, nil
}
