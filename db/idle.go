package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// errInUse is why a database is not suspended.
var errInUse = errors.New("in use")

// Suspend drops what the database holds in memory, if nothing uses it: no read,
// cursor, transaction, write or watch, and no arrival that is not folded. It
// reports whether the database is suspended. The next use loads it again, as
// Open does; until then nothing folds, so whoever wakes it for arrivals asks
// Suspended first.
func (db *DB) Suspend() bool {
	db.dropIdleCursors()
	db.mu.Lock()
	if db.asleep || db.closed || !db.unused() {
		asleep := db.asleep && !db.closed
		db.mu.Unlock()
		return asleep
	}
	r := &request{ctx: context.Background(), do: db.suspend, done: make(chan struct{})}
	db.queue = append(db.queue, r)
	db.mu.Unlock()
	db.Wake()
	<-r.done
	return r.err == nil
}

// Suspended reports whether the database is suspended.
func (db *DB) Suspended() bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.asleep
}

// Uses returns how often the database was used since Open: two equal answers say
// that nothing began to use it in between.
func (db *DB) Uses() uint64 {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.uses
}

// unused reports whether nothing reads, writes or watches; db.mu is held.
func (db *DB) unused() bool {
	return len(db.queue) == 0 && len(db.watches) == 0 && db.view != nil && db.view.refs.Load() == 1
}

// dropIdleCursors closes the cursors that nobody asked for more for long.
func (db *DB) dropIdleCursors() {
	db.dropFeeds(time.Now().Add(-feedIdle))
	db.cursors.tick(time.Now())
}

// suspend is Suspend in the committer.
func (db *DB) suspend() error {
	db.waking.Lock()
	defer db.waking.Unlock()
	db.mu.Lock()
	if db.closed || len(db.waiting) > 0 || !db.unused() {
		db.mu.Unlock()
		return errInUse
	}
	db.asleep = true
	db.mu.Unlock()
	// An arrival from now on finds it asleep; one before is still to be folded.
	as, err := db.journal.Arrivals(db.meta.cursor, 1)
	db.mu.Lock()
	defer db.mu.Unlock()
	if err != nil || len(as) > 0 {
		db.asleep = false
		return errInUse
	}
	v := db.view
	db.view = nil
	db.slept = db.infoOf(v)
	v.release()
	db.forget()
	return nil
}

// forget drops what load reads again.
func (db *DB) forget() {
	db.cat, db.meta, db.broken = nil, meta{}, nil
	db.own, db.cut, db.recent = map[clock.LogID]bool{}, Cut{}, map[int64]*record{}
	db.defMu.Lock()
	db.defCache = map[string]*definition{}
	db.defMu.Unlock()
}

// look returns the view, which the caller releases; nil for a suspended database,
// with what Info was then. It is no use of the database.
func (db *DB) look() (*view, Info, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	switch {
	case db.closed || db.view == nil && !db.asleep:
		return nil, Info{}, ErrClosed
	case db.view == nil:
		return nil, db.slept, nil
	}
	db.view.refs.Add(1)
	return db.view, Info{}, nil
}

// resting reports whether the database is suspended, and ends the committer that
// asks; the use that loads it starts another.
func (db *DB) resting() bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.asleep {
		db.running = false
	}
	return db.asleep
}

// use counts a use and loads the database if it is suspended. db.mu is held, and
// let go of while it loads.
func (db *DB) use() error {
	db.uses++
	for db.asleep && !db.closed {
		db.mu.Unlock()
		err := db.resume()
		db.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// resume loads a suspended database.
func (db *DB) resume() error {
	db.waking.Lock()
	defer db.waking.Unlock()
	db.mu.Lock()
	asleep := db.asleep && !db.closed
	db.mu.Unlock()
	if !asleep {
		return nil
	}
	db.forget() // what a load that failed left
	if err := db.load(); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	db.mu.Lock()
	if db.closed {
		v := db.view
		db.view = nil
		db.mu.Unlock()
		v.release()
		return ErrClosed
	}
	db.asleep = false
	db.start()
	db.mu.Unlock()
	if db.loaded != nil {
		db.loaded()
	}
	return nil
}

// A Folded says up to which arrival a database is folded, and the hash of that
// state.
type Folded struct {
	Arrival int64
	Hash    clock.Hash
}

// PeekState reads, without opening it, how far the database under prefix is
// folded. ok is false if only Open can tell, because a fold was interrupted.
func PeekState(r store.Reader, prefix []byte) (f Folded, ok bool, err error) {
	db := &DB{prefix: prefix}
	if _, err := r.Get(db.key(tagRedo)); !errors.Is(err, store.ErrNotFound) {
		return f, false, err
	}
	m, err := loadMeta(db, r)
	if err != nil {
		return f, false, fmt.Errorf("peek: %w", err)
	}
	h := *m.hash
	h.Apply(m.pending)
	return Folded{m.cursor, h.Sum()}, true, nil
}
