package db_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/replica"
)

// Whatever is begun while a database is suspended, loaded again and closed works
// or says that it is closed, and ends; TestMain looks for goroutines that stay.
func TestCloseUnderLoad(t *testing.T) {
	for range 20 {
		x, _ := dbtest.OpenIn(t, memory(t), "a")
		if err := x.CreateCollection(t.Context(), "c", db.CollectionOptions{Indexes: []db.Index{ttl("at")}}); err != nil {
			t.Fatal(err)
		}
		var wg, begun sync.WaitGroup
		begun.Add(len(loads))
		for i, work := range loads {
			wg.Go(func() {
				for n := 0; ; n++ {
					err := work(t.Context(), x, i, n)
					if n == 0 {
						begun.Done()
					}
					if errors.Is(err, db.ErrClosed) {
						return
					}
					if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, db.ErrConflict) {
						t.Errorf("load %d: %v", i, err)
						return
					}
				}
			})
		}
		begun.Wait()
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if _, err := x.Run(t.Context(), raw(t, d("watch", "c"))); !errors.Is(err, db.ErrClosed) {
			t.Fatalf("a watch of a closed database: %v", err)
		}
	}
}

// loads are what callers do with a database, over and over.
var loads = []func(ctx context.Context, x *replica.Replica, i, n int) error{
	func(ctx context.Context, x *replica.Replica, _, n int) error {
		_, err := x.Collection("c").Insert(ctx, bsonOf(d("n", n, "at", time.Now().Add(-2*time.Hour))))
		return err
	},
	func(ctx context.Context, x *replica.Replica, _, _ int) error {
		w, err := x.Watch(ctx, db.WatchOptions{})
		if err != nil {
			return err
		}
		defer w.Close()
		soon, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		_, err = w.Next(soon)
		return err
	},
	func(ctx context.Context, x *replica.Replica, _, _ int) error {
		l, err := x.Collection("c").Live(ctx, nil, db.FindOptions{Limit: 3})
		if err != nil {
			return err
		}
		defer l.Close()
		soon, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		_, err = l.Next(soon)
		return err
	},
	func(ctx context.Context, x *replica.Replica, _, _ int) error {
		return x.Transaction(ctx, db.TxOptions{}, func(tx *db.Tx) error {
			_, err := tx.Insert("t", bsonOf(d("a", 1)))
			return err
		})
	},
	func(ctx context.Context, x *replica.Replica, i, n int) error {
		_, err := x.Run(ctx, bsonOf(in("s", n, true, d("insert", "t", "documents", bson.A{d("a", i)}))))
		return err
	},
	func(ctx context.Context, x *replica.Replica, _, _ int) error {
		_, err := x.Run(ctx, bsonOf(d("find", "c", "batchSize", 1)))
		return err
	},
	func(ctx context.Context, x *replica.Replica, _, n int) error {
		name := []string{"watch", "live"}[n%2]
		_, err := x.Run(ctx, bsonOf(d(name, "c")))
		return err
	},
	func(ctx context.Context, x *replica.Replica, _, _ int) error {
		x.Suspend()
		return x.Settle(ctx)
	},
	func(ctx context.Context, x *replica.Replica, _, _ int) error {
		x.Suspend()
		_, err := x.Sweep(ctx)
		return err
	},
}

func bsonOf(v bson.D) bson.Raw {
	b, err := bson.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// ttl returns an index by which documents expire after an hour.
func ttl(path string) db.Index {
	hour := time.Hour
	return db.Index{Name: path, Keys: []db.IndexKey{{Path: path}}, ExpireAfter: &hour}
}
