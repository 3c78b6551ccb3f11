package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net"
	"github.com/weftdb/weft/node/internal/journal"
)

// open returns the fold, opening it if this is its first use.
func (d *database) open(ctx context.Context) (*replica.Replica, error) {
	fold, opened, err := d.First(func() (*replica.Replica, error) { return d.openFold(ctx) })
	if err == nil && opened {
		d.n.crowded()
		// Without the lock: whoever this wakes asks for the state.
		n, _ := fold.StateHash()
		d.thread.Flushed(n) // peers may now have what was written, and hear of the state
	}
	return fold, d.met(err)
}

// openFold opens the fold and takes the cut over before anybody can read. A cut that cannot
// be taken over fails the opening; one that does not agree (applyCut) does not.
func (d *database) openFold(ctx context.Context) (*replica.Replica, error) {
	fold, err := replica.Open(ctx, replica.Options{
		Store: d.n.store, Name: d.name, Prefix: foldPrefix(d.number), Journal: journal.Of(d.thread), Clock: d.n.clock, Log: d.n.log.With("database", d.name),
		Loaded: d.n.crowded,
	})
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", d.name, err)
	}
	if err := d.applyCut(ctx, fold); err != nil {
		return nil, errors.Join(fmt.Errorf("cut of database %s: %w", d.name, err), fold.Close())
	}
	return fold, nil
}

// need folds, in the background, what has arrived. Few databases do so at once;
// the others wait for their turn.
func (d *database) need() {
	if d.needed.Swap(true) {
		return // one that has not begun yet folds this too
	}
	d.n.background(func(ctx context.Context) {
		if !d.n.loading.take(ctx) {
			return
		}
		defer d.n.loading.give()
		d.needed.Store(false)
		fold, err := d.open(ctx)
		if err == nil {
			err = d.met(fold.Settle(ctx))
		}
		if err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, db.ErrClosed) && ctx.Err() == nil {
			d.n.log.Error("open database", "database", d.name, "error", err)
		}
	})
}

// arrived says that the thread has new records.
func (d *database) arrived() {
	if !d.Wake() {
		d.need()
	}
}

// state returns the arrival up to which the database is folded, and the hash of
// that state; nothing while a cut is being taken over. It opens nothing: a
// database that nobody used yet is looked at in the store.
func (d *database) state() (int64, clock.Hash, bool) {
	d.cutMu.Lock()
	taken := d.taken == d.told
	d.cutMu.Unlock()
	if fold := d.Get(); fold != nil {
		n, h := fold.StateHash()
		return n, h, taken
	}
	if !taken {
		return 0, clock.Hash{}, false // voided opens it
	}
	f, ok := d.Peek(d.n.store, foldPrefix(d.number))
	if ok = ok && f.Authority == d.thread.Authority(); !ok {
		d.need()
	}
	return f.Arrival, f.Hash, ok
}

// voided takes what does not count of the thread, which replaces what did not
// before.
func (d *database) voided(c net.Cut) {
	d.cutMu.Lock()
	d.cut = c
	d.told++
	d.cutMu.Unlock()
	d.n.background(func(ctx context.Context) {
		if !d.n.loading.take(ctx) {
			return
		}
		defer d.n.loading.give()
		fold, err := d.open(ctx)
		if err == nil {
			err = d.met(d.takeCut(ctx, fold))
		}
		if err == nil {
			err = d.vouch(ctx, fold)
		}
		if err != nil && !errors.Is(err, ErrClosed) && ctx.Err() == nil {
			d.n.log.Error("cut", "database", d.name, "error", err)
		}
	})
}

// takeCut takes the cut that was told last into the fold, and tells the thread
// that the state is known again.
func (d *database) takeCut(ctx context.Context, fold *replica.Replica) error {
	if err := d.applyCut(ctx, fold); err != nil {
		return err
	}
	n, _ := fold.StateHash()
	d.thread.Flushed(n)
	return nil
}

// applyCut is takeCut without telling. A snapshot that is not what the records
// here gave is not taken over: they stay, and peers see that the states differ.
func (d *database) applyCut(ctx context.Context, fold *replica.Replica) error {
	d.cutting.Lock()
	defer d.cutting.Unlock()
	d.cutMu.Lock()
	c, told, taken := d.cut, d.told, d.taken
	d.cutMu.Unlock()
	if told == taken && d.Get() != nil {
		return nil
	}
	err := fold.SetCut(ctx, foldCut(c))
	kept := errors.Is(err, replica.ErrSnapshot)
	if kept {
		d.n.log.Error("a checkpoint is not taken over", "database", d.name, "error", err)
		err = nil
	}
	if err != nil {
		return err
	}
	d.cutMu.Lock()
	if told >= d.taken { // attach may have said meanwhile that there is no cut
		d.taken, d.kept = told, kept
	}
	d.cutMu.Unlock()
	return nil
}

// foldCut is a thread's cut as the fold takes it.
func foldCut(c net.Cut) replica.Cut {
	out := replica.Cut{Void: c.Void, Tag: c.Tag, Snapshots: make(map[clock.LogID]replica.CutSnapshot, len(c.Snapshots))}
	for log, s := range c.Snapshots {
		out.Snapshots[log] = replica.CutSnapshot(s)
	}
	return out
}

// differs reports whether the fold goes on without the checkpoints that it was told.
func (d *database) differs() bool {
	d.cutMu.Lock()
	defer d.cutMu.Unlock()
	return d.kept
}
