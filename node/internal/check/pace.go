package check

import (
	"context"
	"time"
)

// Pacer returns a function that waits until as many bytes may be read. It sleeps only when
// it is 10 ms ahead, as shorter sleeps cost more than they give. It counts from its first
// moment, so what was slow at first may be made up for later.
func Pacer(ctx context.Context, rate int64) func(int) error {
	if rate <= 0 {
		return func(int) error { return ctx.Err() }
	}
	began, read := time.Now(), int64(0)
	return func(k int) error {
		read += int64(k)
		wait := time.Duration(float64(read)/float64(rate)*float64(time.Second)) - time.Since(began)
		if wait < 10*time.Millisecond {
			return ctx.Err()
		}
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
