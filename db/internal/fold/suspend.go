package fold

import (
	"context"
	"errors"
	"fmt"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/place"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/clock"
)

// A suspended fold keeps nothing of a database but what Info tells: no view, no catalogue,
// no committer.
//
//	Suspend, nothing uses it   asleep = true, view = nil; the committer ends
//	the next use               resume: load, publish, start the committer, asleep = false
//	two uses at once           waking makes one load, the other finds it done
//	an arrival between         it finds the fold asleep: whoever brought it must use it
//
// Invariant: view is nil only while asleep, or after Close; and only whoever holds
// waking changes asleep.

// errInUse is why a database is not suspended.
var errInUse = errors.New("in use")

// Suspend drops what the fold holds in memory, if nothing uses it: no read,
// transaction, write or subscription, and no arrival that is not folded. It
// reports whether the fold is suspended. The next use loads it again, as open
// does; until then nothing folds, so whoever wakes it for arrivals asks Suspended
// first.
func (f *Fold) Suspend() bool {
	f.mu.Lock()
	if f.asleep || f.closed || !f.unused() {
		asleep := f.asleep && !f.closed
		f.mu.Unlock()
		return asleep
	}
	r := &Request{Ctx: context.Background(), Do: f.suspend, done: make(chan struct{})}
	// Not by Submit, which would count as a use.
	f.queue = append(f.queue, r)
	f.mu.Unlock()
	f.Wake()
	<-r.done
	return r.Err == nil
}

// Suspended reports whether the database is suspended.
func (f *Fold) Suspended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asleep
}

// Uses returns how often the database was used since Open: two equal answers say
// that nothing began to use it in between.
func (f *Fold) Uses() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.uses
}

// unused reports whether nothing reads, writes or watches; f.mu is held.
func (f *Fold) unused() bool {
	return len(f.queue) == 0 && !f.listener.Active() && f.view != nil && f.view.Refs.Load() == 1
}

// suspend is Suspend in the committer.
func (f *Fold) suspend() error {
	f.waking.Lock()
	defer f.waking.Unlock()
	f.mu.Lock()
	if f.closed || len(f.waiting) > 0 || !f.unused() {
		f.mu.Unlock()
		return errInUse
	}
	f.asleep = true
	f.mu.Unlock()
	// An arrival from now on finds it asleep; one before is still to be folded.
	as, err := f.Journal.Arrivals(f.meta.Cursor, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil || len(as) > 0 || f.places.Due() {
		f.asleep = false
		return errInUse
	}
	v := f.view
	f.view = nil
	f.slept = f.factsOf(v)
	v.Release()
	f.forget()
	return nil
}

// forget drops what load reads again.
func (f *Fold) forget() {
	f.Cat, f.meta, f.broken = nil, keyspace.Meta{}, nil
	f.places, f.plan = place.Places{}, nil
	f.own, f.cut, f.recent = map[clock.LogID]bool{}, Cut{}, journal.Cache{}
	f.endMerge()
	f.defs.Forget()
}

// Look returns the view, which the caller releases; nil for a suspended database,
// with its facts then. It is no use of the database.
func (f *Fold) Look() (*view.View, view.Facts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed || f.view == nil && !f.asleep:
		return nil, view.Facts{}, keyspace.ErrClosed
	case f.view == nil:
		return nil, f.slept, nil
	}
	f.view.Refs.Add(1)
	return f.view, view.Facts{}, nil
}

// resting reports whether the database is suspended, and ends the committer that
// asks; the use that loads it starts another.
func (f *Fold) resting() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asleep {
		f.running = false
	}
	return f.asleep
}

// use counts a use and loads the database if it is suspended. f.mu is held, and
// let go of while it loads.
func (f *Fold) use() error {
	f.uses++
	for f.asleep && !f.closed {
		f.mu.Unlock()
		err := f.resume()
		f.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// resume loads a suspended database.
func (f *Fold) resume() error {
	f.waking.Lock()
	defer f.waking.Unlock()
	f.mu.Lock()
	asleep := f.asleep && !f.closed
	f.mu.Unlock()
	if !asleep {
		return nil
	}
	f.forget() // what a load that failed left
	if err := f.load(); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	f.mu.Lock()
	if f.closed {
		v := f.view
		f.view = nil
		f.mu.Unlock()
		v.Release()
		return keyspace.ErrClosed
	}
	f.asleep = false
	f.start()
	f.mu.Unlock()
	if f.loaded != nil {
		f.loaded()
	}
	return nil
}

// A Folded is [keyspace.Folded].
type Folded = keyspace.Folded
