package db_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/weftdb/weft/db"
)

// BenchmarkWriteWithSubscriptions is the cost of a synced write of one document
// that live queries, each with a filter of its own and a goroutine that listens,
// are subscribed to; alike are all the same and all told of each write.
func BenchmarkWriteWithSubscriptions(b *testing.B) {
	for _, kind := range []string{"", "ranges/", "watches/", "alike/"} {
		for _, n := range []int{1, 1000} {
			b.Run(fmt.Sprintf("%s%d", kind, n), func(b *testing.B) { writeWithSubscriptions(b, kind, n) })
		}
	}
}

func writeWithSubscriptions(b *testing.B, kind string, n int) {
	x, c := benchDB(b)
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	for i := range n {
		f := raw(b, d("country", fmt.Sprintf("C%d", i), "population", d("$gt", 10)))
		switch kind {
		case "ranges/":
			f = raw(b, d("lat", d("$gt", float64(i)*90/float64(n)+85)))
		case "alike/":
			f = raw(b, d("population", d("$gt", 10)))
		case "watches/":
			w, err := x.Watch(ctx, db.WatchOptions{Collections: []string{"cities"}, Filter: f})
			if err != nil {
				b.Fatal(err)
			}
			defer w.Close()
			wg.Go(func() {
				for {
					if _, err := w.Next(ctx); err != nil {
						return
					}
				}
			})
			continue
		}
		l, err := c.Live(ctx, f, db.FindOptions{Sort: raw(b, d("population", -1)), Limit: 20})
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		wg.Go(func() {
			for {
				if _, err := l.Next(ctx); err != nil {
					return
				}
			}
		})
	}
	for i := 0; b.Loop(); i++ {
		if _, err := c.Insert(ctx, city(b, i)); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	wg.Wait()
}
