package tty

import (
	"context"
	"io"
)

// Input returns a reader of in whose reads end when ctx does, with its error. A read of a
// pipe or terminal that nothing comes from cannot be cut short: it is left behind, and what
// it may still get is lost. It is for one goroutine.
func Input(ctx context.Context, in io.Reader) io.Reader {
	return &input{ctx: ctx, in: in, got: make(chan error, 1), buf: make([]byte, 64<<10)}
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
		select {
		case i.err = <-i.got:
			i.asked, i.rest = false, i.buf[:i.n]
		case <-i.ctx.Done():
			return 0, i.ctx.Err()
		}
	}
	n := copy(p, i.rest)
	if i.rest = i.rest[n:]; len(i.rest) > 0 {
		return n, nil
	}
	return n, i.err
}
