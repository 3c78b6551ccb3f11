// Package homelock keeps a home to one process.
package homelock

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/weftdb/weft/internal/fault"
)

// ErrHeld reports a home that another process has open.
var ErrHeld = fault.New(fault.HomeInUse, "the home is in use by another process")

// Wait tries to take the lock until wait is over.
func Wait(ctx context.Context, path string, wait time.Duration) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		f, err := Take(path)
		if !errors.Is(err, ErrHeld) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-again.C:
		}
	}
}
