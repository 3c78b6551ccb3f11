package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// An engine is what badger and pebble must each do; core adds the rest.
type engine interface {
	limits() Limits
	// charge returns what a write of value under key costs of Limits.Bytes.
	charge(key, value []byte) int
	snapshot() (engineView, error)
	// apply writes all of w or nothing. Calls never overlap.
	apply(w *writeSet) error
	sync() error
	size() (int64, error)
	// compact gives space back; it may call exclusive around steps that no
	// apply may overlap.
	compact(ctx context.Context, exclusive func(func() error) error) error
	close() error
}

// An engineView is a consistent view; its values are the caller's to keep.
type engineView interface {
	get(key []byte) ([]byte, error)
	iterate(r Range) (engineIter, error)
	release()
}

// An engineIter walks the keys of a range; it starts unpositioned.
type engineIter interface {
	seek(key []byte) // nil: the first key in the iterator's direction
	next()
	valid() bool
	key() []byte
	value(buf []byte) ([]byte, error) // appended to buf[:0]
	err() error
	close()
}

// core is a Store over an engine: it adds conflict detection, shared syncs and
// a Close that is safe while views are open.
type core struct {
	eng    engine
	syncs  syncGroup
	failed atomic.Pointer[error] // the first failed commit or sync
	sets   sync.Pool             // of *writeSet, empty

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

// Open opens the store in dir, creating both if absent. A store stays with the
// engine that created it. The caller owes Close.
func Open(dir string, o *Options) (Store, error) {
	opts := Options{}
	if o != nil {
		opts = *o
	}
	if opts.Engine == "" {
		opts.Engine = "badger"
	}
	if opts.CacheBytes <= 0 {
		opts.CacheBytes = 32 << 20
	}
	if opts.Logf == nil {
		opts.Logf = func(string, ...any) {}
	}
	var open func(string, Options) (engine, error)
	switch opts.Engine {
	case "badger":
		open = openBadger
	case "pebble":
		open = openPebble
	default:
		return nil, fmt.Errorf("store: unknown engine %q: want badger or pebble", opts.Engine)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := claim(dir, opts.Engine); err != nil {
		return nil, err
	}
	eng, err := open(dir, opts)
	if err != nil {
		if isLocked(err) {
			return nil, fmt.Errorf("%w: %s", ErrLocked, dir)
		}
		return nil, fmt.Errorf("store: opening %s with %s: %w", dir, opts.Engine, err)
	}
	return newCore(eng), nil
}

// OpenMemory opens an empty store in memory, for tests: pebble over its own
// memory file system. Nothing of it remains after Close.
func OpenMemory() (Store, error) {
	eng, err := openPebbleMemory()
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return newCore(eng), nil
}

func newCore(eng engine) *core {
	c := &core{eng: eng, views: make(map[*view]struct{})}
	c.closing, c.stop = context.WithCancel(context.Background())
	c.syncs.sync = eng.sync
	c.sets.New = func() any { return newWriteSet() }
	c.oracle.seed = maphash.MakeSeed()
	c.oracle.commits = make(map[uint64]uint64)
	c.oracle.active = make(map[*tx]struct{})
	return c
}

// claim makes sure that dir belongs to engine. The name of a store's engine is
// in its file ENGINE.
func claim(dir, engine string) error {
	name := filepath.Join(dir, "ENGINE")
	got, err := os.ReadFile(name)
	if err == nil {
		if s := strings.TrimSpace(string(got)); s != engine {
			return fmt.Errorf("store: %s holds a store of engine %q, not %q", dir, s, engine)
		}
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("store: %w", err)
	}
	f, err := os.CreateTemp(dir, "ENGINE-*.tmp")
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	_, err = f.WriteString(engine + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("store: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// isLocked reports whether err is how an engine says that the directory is in
// use: by errno, or by text where the engine gives no more.
func isLocked(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EWOULDBLOCK) ||
		strings.Contains(err.Error(), "lock held by current process") ||
		strings.Contains(err.Error(), "Cannot acquire directory lock")
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

func (c *core) Limits() Limits { return c.eng.limits() }

func (c *core) Sync() error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.leave()
	if err := c.failure(); err != nil {
		return err
	}
	if err := c.syncs.wait(); err != nil {
		return c.fail(fmt.Errorf("store: sync: %w", err))
	}
	return nil
}

func (c *core) Size() (int64, error) {
	if err := c.enter(); err != nil {
		return 0, err
	}
	defer c.leave()
	return c.eng.size()
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
	err := c.eng.compact(ctx, func(f func() error) error {
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
		return fmt.Errorf("store: compact: %w", err)
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
			err = c.eng.sync()
		}
		c.closeErr = errors.Join(err, c.eng.close())
	})
	return c.closeErr
}

// validKey reports whether a store can hold key.
func validKey(key []byte) bool {
	return len(key) > 0 && len(key) <= MaxKey && !bytes.HasPrefix(key, []byte("!badger"))
}

// A syncGroup lets the callers that arrive while a sync runs share the next
// one.
type syncGroup struct {
	sync func() error

	mu   sync.Mutex // guards next, last
	next *syncRound // has not begun; arrivals join it
	last *syncRound // runs or has ended
}

type syncRound struct {
	callers int           // guarded by the group's mu
	done    chan struct{} // closed after err is set
	err     error
}

// wait returns the result of a sync that began after the call.
func (g *syncGroup) wait() error {
	g.mu.Lock()
	if r := g.next; r != nil {
		r.callers++
		g.mu.Unlock()
		<-r.done
		return r.err
	}
	r, prev := &syncRound{callers: 1, done: make(chan struct{})}, g.last
	g.next = r
	g.mu.Unlock()
	if prev != nil {
		<-prev.done
	}
	g.mu.Lock()
	g.next, g.last = nil, r
	g.mu.Unlock()
	r.err = g.sync()
	close(r.done)
	return r.err
}
