//go:build windows

package homelock

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

const errSharingViolation = syscall.Errno(32)

// Take opens a home's lock file without sharing it, which no other process
// can do until this one closes it or ends: that gives ErrHeld.
func Take(path string) (*os.File, error) {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, fmt.Errorf("lock home: %w", err)
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil,
		syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, errSharingViolation) {
		return nil, ErrHeld
	}
	if err != nil {
		return nil, fmt.Errorf("lock home: %w", err)
	}
	return os.NewFile(uintptr(h), path), nil
}
