package db

import (
	"context"
	"sync"
	"time"

	"github.com/weftdb/weft/db/internal/feed"
	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/internal/clock"
)

// A DB is an open database. It is safe for concurrent use. Methods that change
// something return when the change is durable.
type DB struct {
	name    string
	fold    *fold.Fold
	feed    *feed.Feed
	lives   lives
	life    context.Context //nolint:containedctx // of what the database does by itself; Close ends it
	endLife func()
	wg      sync.WaitGroup // of sweeps

	mu      sync.Mutex // guards the fields below; fold.mu may be held before it, never after
	closed  bool
	watches map[*feed.Subscription]struct{}
	sweeper *time.Timer // of the next sweep; nil for none
}

// Open opens the fold of a database, and the database on it; end closes both. It
// is for package replica, which gives a node what it needs to keep a database.
func Open(ctx context.Context, name string, o fold.Options) (d *DB, f *fold.Fold, end func(), err error) {
	db := &DB{name: name, watches: map[*feed.Subscription]struct{}{}}
	db.life, db.endLife = context.WithCancel(context.Background())
	o.Published = db.scheduleSweep
	o.Listener = func(f *fold.Fold) (_ fold.Listener, err error) {
		db.feed, err = feed.New(f.Store, f.Space, f.Journal)
		return db.feed, err
	}
	if db.fold, err = fold.Open(ctx, o); err != nil {
		return nil, nil, nil, err
	}
	return db, db.fold, db.close, nil
}

// Name returns the name by which replies to commands call the database.
func (db *DB) Name() string { return db.name }

// Now returns real time, as the database's clock has it.
func (db *DB) Now() time.Time { return db.fold.Wall() }

// Namespace returns what a reply calls a collection: database.collection.
func (db *DB) Namespace(collection string) string {
	if db.name == "" {
		return collection
	}
	return db.name + "." + collection
}

// Settle returns when everything that had arrived before the call is folded and
// durable.
func (db *DB) Settle(ctx context.Context) error { return db.fold.Settle(ctx) }

// close ends the committer and every cursor and watch. It may be called twice.
func (db *DB) close() {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return
	}
	db.closed = true
	if db.sweeper != nil {
		db.sweeper.Stop()
	}
	ws := db.watches
	db.watches = nil
	db.mu.Unlock()
	db.fold.Stop()
	for s := range ws {
		s.Leave()
	}
	db.feed.Close()
	db.endLife()
	db.wg.Wait()
	db.fold.Close()
}

// StateHash returns the arrival up to which the database is folded and the
// hash of that state. Two replicas that folded the same records have the same
// hash.
func (db *DB) StateHash() (n int64, h clock.Hash) {
	i := db.fold.Facts()
	return i.Arrival, i.Hash
}

// Info describes the database.
func (db *DB) Info() Info { return Info(db.fold.Facts()) }
