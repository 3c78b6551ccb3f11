package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// core is a Store over an engine: it adds conflict detection, shared syncs and
// a Close that is safe while views are open.
type core struct {
	eng    Engine
	syncs  syncGroup
	failed atomic.Pointer[error] // the first failed commit or sync
	sets   sync.Pool             // of *Writes, empty

	commitMu sync.Mutex // held while a transaction is checked and applied
	oracle   oracle

	mu     sync.Mutex // guards the fields below
	closed bool
	views  map[*view]struct{} // that have not ended
	opWG   sync.WaitGroup     // Sync, Size, Compact, Commit under way

	compactMu sync.Mutex // one Compact at a time
	closeOnce sync.Once
	closeErr  error
	closing   context.Context //nolint:containedctx // done when Close begins
	stop      context.CancelFunc
}

// New returns the store over an engine. The caller owes Close, which closes the
// engine.
func New(eng Engine) Store {
	c := &core{eng: eng, views: make(map[*view]struct{})}
	c.closing, c.stop = context.WithCancel(context.Background())
	c.syncs.sync = eng.Sync
	c.sets.New = func() any { return newWrites() }
	c.oracle.seed = maphash.MakeSeed()
	c.oracle.commits = make(map[uint64]uint64)
	c.oracle.active = make(map[*tx]struct{})
	return c
}

// enter begins an operation that Close must wait for; leave ends it.
func (c *core) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.opWG.Add(1)
	return nil
}

func (c *core) leave() { c.opWG.Done() }

// fail records the first failure of a write; what is on disk is not known
// after it, so that it ends all writing.
func (c *core) fail(err error) error {
	c.failed.CompareAndSwap(nil, &err)
	return *c.failed.Load()
}

func (c *core) failure() error {
	if p := c.failed.Load(); p != nil {
		return *p
	}
	return nil
}

func (c *core) Limits() Limits { return c.eng.Limits() }

func (c *core) Sync() error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.leave()
	if err := c.failure(); err != nil {
		return err
	}
	if err := c.syncs.wait(); err != nil {
		return c.fail(fmt.Errorf("sync: %w", err))
	}
	return nil
}

func (c *core) Size() (int64, error) {
	if err := c.enter(); err != nil {
		return 0, err
	}
	defer c.leave()
	return c.eng.Size()
}

func (c *core) Compact(ctx context.Context) error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.closing, cancel)()
	c.compactMu.Lock()
	defer c.compactMu.Unlock()
	err := c.eng.Compact(ctx, func(f func() error) error {
		c.commitMu.Lock()
		defer c.commitMu.Unlock()
		if err := c.failure(); err != nil {
			return err
		}
		return f()
	})
	if err != nil && c.closing.Err() != nil {
		return ErrClosed
	}
	if err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	return nil
}

func (c *core) Close() error {
	c.closeOnce.Do(func() {
		c.mu.Lock()
		c.closed = true
		views := make([]*view, 0, len(c.views))
		for v := range c.views {
			views = append(views, v)
		}
		c.mu.Unlock()
		c.stop()
		for _, v := range views {
			v.end()
		}
		c.opWG.Wait()
		err := c.failure()
		if err == nil {
			err = c.eng.Sync()
		}
		c.closeErr = errors.Join(err, c.eng.Close())
	})
	return c.closeErr
}

// validKey reports whether a store can hold key.
func validKey(key []byte) bool {
	return len(key) > 0 && len(key) <= MaxKey && !bytes.HasPrefix(key, []byte("!badger"))
}
