package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weftdb/weft/internal/fault"
)

// How long an engine may take to close: on a full disk, and else, where merging what
// is in memory takes much less.
const (
	closeFull   = 8 * time.Second
	closeWithin = time.Minute
)

// core is a Store over an engine: it adds conflict detection, shared syncs and
// a Close that is safe while views are open.
type core struct {
	eng    Engine
	opt    Options
	seen   *witness // nil in memory
	syncs  syncGroup
	failed atomic.Pointer[error] // the first failed commit or sync
	synced atomic.Uint64         // the position up to which all is durable
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

// Options say where an engine keeps its files. The zero value is for one that has
// none.
type Options struct {
	Dir     string // holds the engine's files, the WITNESS and the RESERVE
	Space   *Space // of Dir's disk; nil: nobody watches it
	Forgive bool   // that the engine lost what was durable: for a repair
	// Damaged is told of each read that met damage, and of a key that it asked for. It
	// must not use the store.
	Damaged func(key []byte, err error)
}

// New returns the store over an engine. The caller owes Close, which closes the
// engine. An engine that has lost what was durable is ErrCorrupt and closed.
func New(eng Engine, o Options) (Store, error) {
	c := &core{eng: eng, opt: o, views: make(map[*view]struct{})}
	if o.Dir != "" {
		w, err := openWitness(o.Dir, eng.Position(), o.Forgive)
		if err != nil {
			return nil, errors.Join(err, eng.Close())
		}
		c.seen = w
	}
	c.synced.Store(eng.Position())
	c.closing, c.stop = context.WithCancel(context.Background())
	c.syncs.sync = c.syncEngine
	c.sets.New = func() any { return newWrites() }
	c.oracle.seed = maphash.MakeSeed()
	c.oracle.commits = make(map[uint64]uint64)
	c.oracle.active = make(map[*tx]struct{})
	return c, nil
}

// syncEngine makes what is applied durable and notes how far that is.
func (c *core) syncEngine() error {
	position := c.eng.Position()
	if err := c.eng.Sync(); err != nil {
		return err
	}
	if err := c.seen.note(position); err != nil {
		return err
	}
	c.synced.Store(position)
	return nil
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
	position := c.eng.Position()
	if err := c.syncs.wait(); errors.Is(err, ErrDiskFull) {
		return c.unsynced(position, err) // there may be room later
	} else if err != nil {
		return c.fail(fmt.Errorf("sync: %w", err))
	}
	return nil
}

// unsynced returns why a sync failed, or nil if nothing up to a position needed one: a
// full disk keeps what it has.
func (c *core) unsynced(position uint64, err error) error {
	if errors.Is(err, ErrDiskFull) && position <= c.synced.Load() {
		return nil
	}
	return err
}

func (c *core) Full() error { return cmp.Or(c.opt.Space.Full(), c.eng.Full()) }

func (c *core) Verify(ctx context.Context, bytesPerSecond int64, report func(Damage)) error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.closing, cancel)()
	p := &pacer{ctx: ctx, rate: bytesPerSecond, begin: time.Now()}
	err := c.eng.Verify(p.pause, report)
	if err != nil && c.closing.Err() != nil {
		return ErrClosed
	}
	return err
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
		c.opt.Space.end()
		for _, v := range views {
			v.end()
		}
		c.closeErr = c.ends()
	})
	return c.closeErr
}

// ends syncs and closes the engine, or gives up after a while: one that cannot write
// may try for ever, and what it holds was not acknowledged.
func (c *core) ends() error {
	ended := make(chan error, 1)
	go func() {
		c.opWG.Wait()
		err := c.failure()
		if err == nil {
			err = c.unsynced(c.eng.Position(), c.syncEngine())
		}
		ended <- errors.Join(err, c.eng.Close(), c.seen.close())
	}()
	full, late := time.NewTimer(closeFull), time.NewTimer(closeWithin)
	defer full.Stop()
	defer late.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-full.C:
			if err := c.Full(); err != nil {
				return err
			}
		case <-late.C:
			return fault.Errorf(fault.Unavailable, "the store in %s has not closed after %v", c.opt.Dir, closeWithin)
		}
	}
}

// validKey reports whether a store can hold key.
func validKey(key []byte) bool {
	return len(key) > 0 && len(key) <= MaxKey && !bytes.HasPrefix(key, []byte("!badger"))
}
