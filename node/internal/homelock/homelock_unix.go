//go:build unix

package homelock

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Take takes the exclusive lock of a home, which ends with the process at
// the latest. A lock that another process holds gives ErrHeld.
func Take(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock home: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrHeld
		}
		return nil, fmt.Errorf("lock home: %w", err)
	}
	return f, nil
}
