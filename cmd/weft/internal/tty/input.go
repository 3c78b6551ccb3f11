package tty

import (
	"context"
	"io"
	"time"
)

// Input returns a reader of in whose reads end when ctx does, with its error. A read of a
// pipe or terminal that nothing comes from cannot be cut short: it is left behind, and what
// it may still get is lost. It is for one goroutine.
func Input(ctx context.Context, in io.Reader) io.Reader {
	return &input{ctx: ctx, in: in, got: make(chan error, 1), buf: make([]byte, 64<<10)}
}

// idleAfter is how long nothing has to come for a reader to be idle.
const idleAfter = 100 * time.Millisecond

// OnIdle has f called, by the goroutine that reads, when a Read of a reader of Input waits and
// nothing has come for a moment: what has come can be used meanwhile. It is called once a Read,
// whose error is that of f.
func OnIdle(r io.Reader, f func() error) {
	if i, ok := r.(*input); ok {
		i.idle = f
	}
}

type input struct {
	ctx   context.Context //nolint:containedctx // of the command line that reads
	in    io.Reader
	got   chan error // how a read ended; n and buf are the reader's again then
	buf   []byte
	n     int
	asked bool   // a read is under way
	rest  []byte // of buf
	err   error  // after rest
	idle  func() error
}

// Read implements [io.Reader].
func (i *input) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	if len(i.rest) == 0 && i.err == nil {
		if !i.asked {
			i.asked = true
			go func() {
				n, err := i.in.Read(i.buf)
				i.n = n
				i.got <- err
			}()
		}
		if err := i.wait(); err != nil {
			return 0, err
		}
	}
	n := copy(p, i.rest)
	if i.rest = i.rest[n:]; len(i.rest) > 0 {
		return n, nil
	}
	return n, i.err
}

// wait waits for the read that is under way.
func (i *input) wait() error {
	var quiet <-chan time.Time
	if i.idle != nil {
		t := time.NewTimer(idleAfter)
		defer t.Stop()
		quiet = t.C
	}
	for {
		select {
		case i.err = <-i.got:
			i.asked, i.rest = false, i.buf[:i.n]
			return nil
		case <-quiet:
			if err := i.idle(); err != nil {
				return err
			}
		case <-i.ctx.Done():
			return i.ctx.Err()
		}
	}
}
