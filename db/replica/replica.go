// Package replica is the side of a database that a node turns to: the journal that
// feeds it, the cut that says what of it counts, and how it is let asleep. An app
// needs package db only.
package replica

import (
	"context"
	"log/slog"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/command"
	"github.com/weftdb/weft/db/internal/fold"
)

// Options says where a database lives and what it works with.
type Options struct {
	// Store holds the database; required. The database does not close it.
	Store Store
	// Prefix begins every key of the database in Store; keep it short, it is
	// part of every key. No other user of Store may use keys that begin with it.
	Prefix []byte
	// Name is what replies to commands call the database; "" leaves it out.
	Name string
	// Journal keeps the transactions; required. It must use the same Store.
	Journal Journal
	// Clock gives the times of local transactions; nil means a new one. It
	// should be the clock that the rest of the node uses.
	Clock *Clock
	// Identity is whose eyes the database is read with: read rules judge by it.
	// "" means the journal's writer. WithReader has it otherwise for one call.
	Identity string
	// Log receives what an operator may want to know; nil discards it.
	Log *slog.Logger
	// Loaded is called when a use has loaded the database again after Suspend;
	// it must not call the database.
	Loaded func()
}

// A Replica is a database as the node that keeps it has it: the database and what
// feeds it, cuts it and lets it sleep. It is safe for concurrent use; the caller
// owes Close.
type Replica struct {
	*db.DB
	fold     *fold.Fold
	end      func()
	commands *command.Runner
}

// Open opens the database under o.Prefix, creating it if there is none. It
// finishes an interrupted fold first; arrivals that are not folded yet are folded
// in the background.
func Open(ctx context.Context, o Options) (*Replica, error) {
	opened, f, end, err := fold.OpenDB(ctx, o.Name, fold.Options{
		Store: o.Store, Prefix: o.Prefix, Journal: o.Journal, Clock: o.Clock, Identity: o.Identity, Log: o.Log, Loaded: o.Loaded,
	})
	if err != nil {
		return nil, err
	}
	d := opened.(*db.DB)
	return &Replica{DB: d, fold: f, end: end, commands: command.New(d)}, nil
}

// Close ends the committer, and every cursor, watch and transaction. It does not
// close the store. It may be called twice.
func (r *Replica) Close() error {
	r.end()
	r.commands.Close()
	return nil
}

// Commands returns the runner of the database's commands.
func (r *Replica) Commands() *command.Runner { return r.commands }

// Run runs a MongoDB command document: see [command.Runner.Run].
func (r *Replica) Run(ctx context.Context, command bson.Raw) (bson.Raw, error) {
	return r.commands.Run(ctx, command)
}

// Reply runs a MongoDB command document: see [command.Runner.Reply].
func (r *Replica) Reply(ctx context.Context, command bson.Raw) (reply bson.Raw, told, err error) {
	return r.commands.Reply(ctx, command)
}

// Wake says that the journal has new arrivals; it never blocks.
func (r *Replica) Wake() { r.fold.Wake() }

// SetCut says what counts as never written, records that are still to come
// included. It replaces the cut of the call before: what that left out and this
// does not counts again. A snapshot that comes into force must have arrived as a
// whole; it is checked, and if it is not what it claims to be nothing changes and
// the error is [ErrSnapshot]. Setting the same again changes nothing.
func (r *Replica) SetCut(ctx context.Context, c Cut) error { return r.fold.SetCut(ctx, c) }

// Compared returns the ID of the log of the last snapshot that was compared with what the
// records here gave, and was the same; ok is false if there is none.
func (r *Replica) Compared() (log [32]byte, ok bool) {
	if id := r.fold.Compared(); id != nil {
		return *id, true
	}
	return log, false
}

// Checkpoint calls at with the arrival up to which everything is folded, and
// nothing after it, and returns the documents there. Nothing is written
// meanwhile. The caller owes Close of the checkpoint.
func (r *Replica) Checkpoint(ctx context.Context, at func(n int64) error) (*Checkpoint, error) {
	return r.fold.Checkpoint(ctx, at)
}

// Suspend drops what the database holds in memory, if nothing uses it: no read,
// cursor, transaction, write or watch, and no arrival that is not folded. It
// reports whether the database is suspended. The next use loads it again, as
// Open does; until then nothing folds, so whoever wakes it for arrivals
// asks Suspended first.
func (r *Replica) Suspend() bool {
	r.commands.DropIdle(time.Now())
	return r.fold.Suspend()
}

// Suspended reports whether the database is suspended.
func (r *Replica) Suspended() bool { return r.fold.Suspended() }

// Uses returns how often the database was used since it was opened: two equal
// answers say that nothing began to use it in between.
func (r *Replica) Uses() uint64 { return r.fold.Uses() }
