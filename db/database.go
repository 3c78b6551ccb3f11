package db

import (
	"context"
	"time"

	"github.com/weftdb/weft/db/internal/feed"
	"github.com/weftdb/weft/db/internal/fold"
)

// A node opens databases by package replica, which finds the way in here: fold.OpenDB.
func init() {
	fold.OpenDB = func(ctx context.Context, name string, o fold.Options) (any, *fold.Fold, func(), error) {
		return open(ctx, name, o)
	}
}

// open opens the fold of a database, and the database on it; end closes both.
func open(ctx context.Context, name string, o fold.Options) (d *DB, f *fold.Fold, end func(), err error) {
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

// close ends the committer and every cursor and watch. It may be called twice. The order:
// nothing new (fold.Stop), then those who listen, then what the database does by itself,
// and the committer last, because the others may wait for it.
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
func (db *DB) StateHash() (n int64, h Hash) {
	i := db.fold.Facts()
	return i.Arrival, i.Hash
}

// Info describes the database.
func (db *DB) Info() Info { return Info(db.fold.Facts()) }
