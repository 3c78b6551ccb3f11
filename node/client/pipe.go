package client

import (
	"bytes"
	"io"
	"sync"
)

// A pipe holds at most limit bytes between one writer and one reader.
type pipe struct {
	limit int

	mu      sync.Mutex // guards what follows
	changed sync.Cond
	held    bytes.Buffer
	last    error // what the reader gets after what is held; nil while more may come
	closed  bool  // the reader is gone
}

func newPipe(limit int) *pipe {
	p := &pipe{limit: limit}
	p.changed.L = &p.mu
	return p
}

// Write waits until b is held; it returns io.ErrClosedPipe once the reader is
// gone.
func (p *pipe) Write(b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for !p.closed && p.held.Len() >= p.limit {
			p.changed.Wait()
		}
		if p.closed {
			return n, io.ErrClosedPipe
		}
		more, _ := p.held.Write(b[n:min(len(b), n+p.limit-p.held.Len())]) // it returns no error
		p.changed.Broadcast()
		if n += more; n == len(b) {
			return n, nil
		}
	}
}

func (p *pipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.held.Len() == 0 {
		if p.closed {
			return 0, io.ErrClosedPipe
		}
		if p.last != nil {
			return 0, p.last
		}
		p.changed.Wait()
	}
	n, err := p.held.Read(b)
	p.changed.Broadcast()
	return n, err
}

// end ends what is written, with err or well. What is held can still be read; it is the
// writer's last call.
func (p *pipe) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last = io.EOF; err != nil {
		p.last = err
	}
	p.changed.Broadcast()
}

// close ends what is read.
func (p *pipe) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.changed.Broadcast()
}
