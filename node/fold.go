package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net"
)

// open opens the fold if it is not open.
func (d *database) open(ctx context.Context) (*db.DB, error) {
	fold, opened, err := d.openOnce(ctx)
	if err == nil && opened {
		d.n.loaded()
		// Without the lock: whoever this wakes asks for the state.
		n, _ := fold.StateHash()
		d.thread.Flushed(n) // peers may now have what was written, and hear of the state
	}
	return fold, err
}

func (d *database) openOnce(ctx context.Context) (fold *db.DB, opened bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, false, ErrClosed
	}
	if fold := d.fold.Load(); fold != nil {
		return fold, false, nil
	}
	fold, err = db.Open(ctx, db.Options{
		Store: d.n.store, Name: d.name, Prefix: foldPrefix(d.number), Journal: journal{d.thread}, Clock: d.n.clock, Log: d.n.log.With("database", d.name),
		Loaded: d.n.loaded,
	})
	if err != nil {
		return nil, false, fmt.Errorf("node: open database %s: %w", d.name, err)
	}
	if err := d.applyVoid(ctx, fold); err != nil {
		return nil, false, errors.Join(fmt.Errorf("node: void logs of database %s: %w", d.name, err), fold.Close())
	}
	d.fold.Store(fold)
	return fold, true, nil
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
			err = fold.Settle(ctx)
		}
		if err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, db.ErrClosed) && ctx.Err() == nil {
			d.n.log.Error("open database", "database", d.name, "error", err)
		}
	})
}

// arrived says that the thread has new records.
func (d *database) arrived() {
	if fold := d.fold.Load(); fold != nil {
		fold.Wake()
		if !fold.Suspended() {
			return
		}
	}
	d.need()
}

// state returns the arrival up to which the database is folded, and the hash of
// that state. It opens nothing: a database that nobody used yet is looked at in
// the store.
func (d *database) state() (int64, clock.Hash, bool) {
	if fold := d.fold.Load(); fold != nil {
		n, h := fold.StateHash()
		return n, h, true
	}
	if p := d.peeked.Load(); p != nil {
		return p.Arrival, p.Hash, true
	}
	snap := d.n.store.Snapshot()
	defer snap.Release()
	p, ok, err := db.PeekState(snap, foldPrefix(d.number))
	if err != nil || !ok {
		d.need()
		return 0, clock.Hash{}, false
	}
	d.peeked.Store(&p)
	return p.Arrival, p.Hash, true
}

// voided takes the set of void logs, which replaces the one before: what they
// wrote counts as never written.
func (d *database) voided(logs []clock.LogID) {
	d.voidMu.Lock()
	d.void, d.told = logs, true
	d.voidMu.Unlock()
	d.n.background(func(ctx context.Context) {
		if !d.n.loading.take(ctx) {
			return
		}
		defer d.n.loading.give()
		fold, err := d.open(ctx)
		if err == nil {
			err = d.applyVoid(ctx, fold)
		}
		if err != nil && !errors.Is(err, ErrClosed) && ctx.Err() == nil {
			d.n.log.Error("void logs", "database", d.name, "error", err)
		}
	})
}

// applyVoid takes the set that was told last into the fold; sets that are told
// meanwhile follow in their order.
func (d *database) applyVoid(ctx context.Context, fold *db.DB) error {
	d.voiding.Lock()
	defer d.voiding.Unlock()
	d.voidMu.Lock()
	logs, told := d.void, d.told
	d.voidMu.Unlock()
	if !told {
		return nil
	}
	return fold.SetVoid(ctx, logs)
}

func (d *database) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if fold := d.fold.Swap(nil); fold != nil {
		return fold.Close()
	}
	return nil
}

// A journal is a thread as the fold sees it.
type journal struct{ t *net.Thread }

func (j journal) Append(tx store.Tx, drafts []db.Draft) ([]clock.RecordID, int64, func(bool), error) {
	out := make([]net.Draft, len(drafts))
	for i, d := range drafts {
		out[i] = net.Draft(d)
	}
	return j.t.Append(tx, out)
}

func (j journal) Flushed(n int64) { j.t.Flushed(n) }

func (j journal) Arrivals(n int64, maxBytes int) ([]db.Arrival, error) {
	in, err := j.t.Arrivals(n, maxBytes)
	out := make([]db.Arrival, len(in))
	for i, a := range in {
		out[i] = db.Arrival{N: a.N, Entry: db.Entry{ID: a.ID, Time: a.Time, Atomic: a.Atomic, Payload: a.Payload}}
		if i > 0 && in[i-1].ID.Log == a.ID.Log {
			out[i].Writer, out[i].Role = out[i-1].Writer, out[i-1].Role
		} else if id, ok := j.t.Writer(a.ID.Log); ok {
			out[i].Writer, out[i].Role = j.author(id)
		}
	}
	return out, err
}

// Writer implements [db.Journal].
func (j journal) Writer() (identity, role string) { return j.author(j.t.Self()) }

// author names an identity and what it is in the database: the owner is who
// made it, as the genesis says. Roles that invites give can change and are not
// told, because what is judged by them would have to be judged again.
func (j journal) author(id keys.PublicKey) (identity, role string) {
	if id == j.t.Owner() {
		return id.DID(), "owner"
	}
	return id.DID(), "writer"
}
