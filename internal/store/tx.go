package store

import (
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
)

// A tx buffers its writes in order and hands them to the engine at Commit.
type tx struct {
	view
	used   Limits
	limits Limits
	read   uint64   // the oracle's time at Begin
	reads  []uint64 // hashes of the keys read
	done   bool
	spare  bool // may use the reserve
	puts   bool // it does not only delete
}

func (c *core) Begin() Tx {
	t := &tx{limits: c.eng.Limits()}
	t.writes = c.sets.Get().(*Writes)
	t.track = func(key []byte) { t.reads = append(t.reads, c.oracle.hash(key)) }
	c.oracle.begin(t)
	c.openView(&t.view)
	return t
}

func (t *tx) Put(key, value []byte) error { return t.write(key, value, false) }
func (t *tx) Delete(key []byte) error     { return t.write(key, nil, true) }
func (t *tx) Used() Limits                { return t.used }
func (t *tx) UseReserve()                 { t.spare = true }

func (t *tx) write(key, value []byte, deleted bool) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.ev == nil || t.done {
		return ErrClosed
	}
	if !validKey(key) {
		return ErrKey
	}
	used := t.used
	used.Bytes += t.c.eng.Charge(key, value)
	n := t.writes.find(key)
	if n == 0 {
		used.Puts++
	} else {
		w := &t.writes.nodes[n]
		used.Bytes -= t.c.eng.Charge(w.key, w.value)
	}
	if used.Bytes > t.limits.Bytes || used.Puts > t.limits.Puts {
		return ErrTooBig
	}
	t.used = used
	t.puts = t.puts || !deleted
	t.writes.put(n, key, value, deleted)
	return nil
}

func (t *tx) Discard() {
	t.end()
	if !t.done {
		t.done = true
		t.c.oracle.end(t, false)
		t.recycle()
	}
}

// recycle gives the write set's memory to the next transaction. No iterator
// can be using it: the view has ended.
func (t *tx) recycle() {
	t.writes.reset()
	t.c.sets.Put(t.writes)
	t.writes = nil
}

func (t *tx) Commit() error {
	if t.done {
		return ErrClosed
	}
	err := t.c.enter()
	if err != nil {
		t.Discard()
		return err
	}
	defer t.c.leave()
	t.mu.RLock()
	ended := t.ev == nil
	t.mu.RUnlock()
	t.end()
	t.done = true
	if ended || t.writes.Len() == 0 {
		t.c.oracle.end(t, false)
		t.recycle()
		if ended {
			return ErrClosed
		}
		return nil
	}
	defer t.recycle()
	return t.c.commit(t)
}

// commit checks t's reads and applies its writes, one transaction at a time.
func (c *core) commit(t *tx) (err error) {
	c.commitMu.Lock()
	defer c.commitMu.Unlock()
	applied := false
	defer func() { c.oracle.end(t, applied) }()
	if err := c.failure(); err != nil {
		return err
	}
	if c.oracle.conflicts(t) {
		return ErrConflict
	}
	if err := c.opt.Space.Check(t.used.Bytes); err != nil && t.puts && !t.spare {
		return err
	}
	// Recorded also if it fails: a failed store commits nothing more.
	applied = true
	if err := c.eng.Apply(t.writes); errors.Is(err, ErrDiskFull) {
		return err // nothing was written, and there may be room later
	} else if err != nil {
		return c.fail(fmt.Errorf("commit: %w", err))
	}
	return nil
}

// An oracle finds transactions that read a key which another transaction wrote
// after they began.
type oracle struct {
	seed maphash.Seed

	mu      sync.Mutex        // guards the fields below
	time    uint64            // commits applied
	commits map[uint64]uint64 // hash of a key: the last time it was written
	active  map[*tx]struct{}
	prune   int // size of commits at which old entries are dropped
}

func (o *oracle) hash(key []byte) uint64 { return maphash.Bytes(o.seed, key) }

// begin registers t before its snapshot is taken, so that the snapshot holds
// every commit up to t.read, and maybe later ones.
func (o *oracle) begin(t *tx) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t.read = o.time
	o.active[t] = struct{}{}
}

func (o *oracle) conflicts(t *tx) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range t.reads {
		if o.commits[r] > t.read {
			return true
		}
	}
	return false
}

// end forgets t and, if it was applied, notes what it wrote for the
// transactions that are active now.
func (o *oracle) end(t *tx, applied bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.active, t)
	if applied {
		o.time++
	}
	if len(o.active) == 0 {
		clear(o.commits)
		return
	}
	if !applied {
		return
	}
	for n := t.writes.first(); n != 0; n = t.writes.after(n) {
		o.commits[o.hash(t.writes.nodes[n].key)] = o.time
	}
	if len(o.commits) > max(o.prune, 1<<16) {
		oldest := o.time
		for a := range o.active {
			oldest = min(oldest, a.read)
		}
		for h, at := range o.commits {
			if at <= oldest {
				delete(o.commits, h)
			}
		}
		o.prune = 2 * len(o.commits)
	}
}
