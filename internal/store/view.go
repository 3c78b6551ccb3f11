package store

import (
	"errors"
	"sync"
)

// A view is a Snapshot, and the reading half of a Tx. Its lock lets Close end
// it while other goroutines use it.
type view struct {
	c      *core
	writes *Writes          // a Tx's own; nil for a Snapshot
	track  func(key []byte) // told each key read; nil for a Snapshot

	mu    sync.RWMutex // held for reading by each use, for writing to end
	ev    EngineView   // nil once ended
	iters []*iter      // open ones
}

// openView starts a view, ended at once if the store is closed. The engine's
// own snapshot is taken under mu so that Close cannot miss it.
func (c *core) openView(v *view) {
	v.c = c
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.opWG.Add(1)
	c.mu.Unlock()
	defer c.leave()
	ev, err := c.eng.Snapshot()
	if err != nil {
		return
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		ev.Release()
		return
	}
	v.ev = ev
	c.views[v] = struct{}{}
	c.mu.Unlock()
}

func (c *core) Snapshot() Snapshot {
	v := new(view)
	c.openView(v)
	return v
}

func (v *view) Release() { v.end() }

// end closes the iterators and the engine's view.
func (v *view) end() {
	v.mu.Lock()
	ev := v.ev
	v.ev = nil
	for _, it := range v.iters {
		if it.ei != nil {
			it.ei.Close()
			it.ei = nil
		}
	}
	v.iters = nil
	if ev != nil {
		ev.Release()
	}
	v.mu.Unlock()
	if ev != nil {
		v.c.mu.Lock()
		delete(v.c.views, v)
		v.c.mu.Unlock()
	}
}

func (v *view) Get(key []byte) ([]byte, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.ev == nil {
		return nil, ErrClosed
	}
	if !validKey(key) {
		return nil, ErrNotFound
	}
	if v.writes != nil {
		if n := v.writes.find(key); n != 0 {
			w := &v.writes.nodes[n]
			if w.deleted {
				return nil, ErrNotFound
			}
			return w.value, nil
		}
	}
	if v.track != nil {
		v.track(key)
	}
	value, err := v.ev.Get(key)
	if err != nil {
		v.c.meet(key, err)
	}
	return value, err
}

// meet tells of an error of a read, if that is damage.
func (c *core) meet(key []byte, err error) {
	if c.opt.Damaged != nil && errors.Is(err, ErrCorrupt) {
		c.opt.Damaged(key, err)
	}
}

func (v *view) Iterate(r Range) Iterator {
	it := &iter{v: v, r: r, failure: ErrClosed}
	v.mu.Lock()
	if v.ev != nil {
		it.ei, it.failure = v.ev.Iterate(r)
		if it.failure == nil {
			v.iters = append(v.iters, it)
		}
	}
	v.mu.Unlock()
	it.Seek(nil)
	return it
}

// An iter merges the engine's keys with a transaction's own writes, which win.
type iter struct {
	v       *view
	r       Range
	ei      EngineIterator // nil once closed; guarded by v.mu
	failure error          // why there is no EngineIterator

	own   int32 // node of v.writes that is next to see; 0 means none
	valid bool
	mine  bool   // the current entry is own
	k     []byte // current key, in kbuf or of a node
	kbuf  []byte
	vbuf  []byte
}

func (it *iter) Valid() bool { return it.valid }
func (it *iter) Key() []byte { return it.k }

func (it *iter) Seek(key []byte) {
	it.v.mu.RLock()
	defer it.v.mu.RUnlock()
	it.valid = false
	if it.ei == nil {
		return
	}
	if key != nil && len(key) == 0 && it.r.Reverse {
		return // no key is <= the empty one
	}
	if key != nil {
		key = it.clamp(key)
	}
	it.ei.Seek(key)
	if w := it.v.writes; w != nil {
		switch {
		case it.r.Reverse && key == nil:
			it.own = w.before(it.r.Upper)
		case it.r.Reverse:
			if it.own = w.find(key); it.own == 0 || !it.inside(key) {
				it.own = w.before(key)
			}
		case key == nil:
			it.own = w.atOrAfter(it.r.Lower)
		default:
			it.own = w.atOrAfter(key)
		}
	}
	it.settle()
}

// clamp returns key, or nil (the first key of the range) if key lies before
// the range in the iterator's direction.
func (it *iter) clamp(key []byte) []byte {
	if it.r.Reverse {
		if it.r.Upper != nil && compare(key, it.r.Upper) >= 0 {
			return nil
		}
	} else if it.r.Lower != nil && compare(key, it.r.Lower) <= 0 {
		return nil
	}
	return key
}

func (it *iter) inside(key []byte) bool {
	return compare(key, it.r.Lower) >= 0 && (it.r.Upper == nil || compare(key, it.r.Upper) < 0)
}

func (it *iter) Next() {
	it.v.mu.RLock()
	defer it.v.mu.RUnlock()
	if !it.valid {
		return
	}
	if it.ei == nil {
		it.valid = false
		return
	}
	if it.mine {
		it.ownNext()
	} else {
		it.ei.Next()
	}
	it.settle()
}

func (it *iter) ownNext() {
	if it.r.Reverse {
		it.own = it.v.writes.before(it.v.writes.nodes[it.own].key)
	} else {
		it.own = it.v.writes.after(it.own)
	}
}

// settle finds the entry that the two positions give, past deleted keys.
func (it *iter) settle() {
	for {
		own := it.own != 0 && it.inside(it.v.writes.nodes[it.own].key)
		stored := it.ei.Valid()
		it.valid, it.mine = own || stored, own
		if !it.valid {
			return
		}
		if own && stored {
			d := compare(it.v.writes.nodes[it.own].key, it.ei.Key())
			if it.r.Reverse {
				d = -d
			}
			it.mine = d <= 0
			if d == 0 { // the engine's is hidden by our own
				it.ei.Next()
			}
		}
		if !it.mine {
			it.kbuf = append(it.kbuf[:0], it.ei.Key()...)
			it.k = it.kbuf
			if it.v.track != nil {
				it.v.track(it.k)
			}
			return
		}
		if w := &it.v.writes.nodes[it.own]; !w.deleted {
			it.k = w.key
			return
		}
		it.ownNext()
	}
}

func (it *iter) Value() ([]byte, error) {
	it.v.mu.RLock()
	defer it.v.mu.RUnlock()
	if it.ei == nil || !it.valid {
		if it.failure != nil {
			return nil, it.failure
		}
		return nil, ErrClosed
	}
	if it.mine {
		return it.v.writes.nodes[it.own].value, nil
	}
	var err error
	if it.vbuf, err = it.ei.Value(it.vbuf); err != nil {
		it.v.c.meet(it.k, err)
	}
	return it.vbuf, err
}

func (it *iter) Err() error {
	it.v.mu.RLock()
	defer it.v.mu.RUnlock()
	switch {
	case it.failure != nil:
		return it.failure
	case it.ei == nil:
		return ErrClosed
	}
	err := it.ei.Err()
	if err != nil {
		it.v.c.meet(it.r.Lower, err)
	}
	return err
}

func (it *iter) Close() {
	it.v.mu.Lock()
	defer it.v.mu.Unlock()
	it.valid = false
	if it.ei == nil {
		return
	}
	it.ei.Close()
	it.ei = nil
	for i, o := range it.v.iters {
		if o == it {
			last := len(it.v.iters) - 1
			it.v.iters[i], it.v.iters[last] = it.v.iters[last], nil
			it.v.iters = it.v.iters[:last]
			break
		}
	}
}
