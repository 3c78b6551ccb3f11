package db_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/store/engines"
)

// city is like a line of the cities sample, about 250 bytes.
func city(t testing.TB, i int) bson.Raw {
	r := rand.New(rand.NewPCG(uint64(i), 1))
	return raw(t, d("name", fmt.Sprintf("City %d", r.IntN(40_000)), "ascii", fmt.Sprintf("city-%d", i), "country", fmt.Sprintf("C%d", r.IntN(250)),
		"lat", r.Float64()*180-90, "lon", r.Float64()*360-180, "population", int64(r.IntN(1_000_000)), "timezone", "Europe/Somewhere",
		"feature", d("class", "P", "code", "PPL"), "modified", "2024-01-01"))
}

func benchDB(b *testing.B) (*replica.Replica, *db.Collection) {
	x, _ := dbtest.Open(b, "a")
	err := x.CreateCollection(b.Context(), "cities", db.CollectionOptions{Indexes: []db.Index{{Keys: []db.IndexKey{{Path: "country"}}}}})
	if err != nil {
		b.Fatal(err)
	}
	return x, x.Collection("cities")
}

// BenchmarkRawSync is what the engine needs for one synced put.
func BenchmarkRawSync(b *testing.B) {
	st, err := engines.Open(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	doc := city(b, 1)
	for i := 0; b.Loop(); i++ {
		tx := st.Begin()
		if err := tx.Put(binary.BigEndian.AppendUint64(nil, uint64(i)), doc); err != nil {
			b.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			b.Fatal(err)
		}
		if err := st.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkInsertSingle(b *testing.B) {
	_, c := benchDB(b)
	for i := 0; b.Loop(); i++ {
		if _, err := c.Insert(b.Context(), city(b, i)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkInsertParallel64(b *testing.B) {
	_, c := benchDB(b)
	var wg sync.WaitGroup
	next := make(chan int)
	for range 64 {
		wg.Go(func() {
			for i := range next {
				if _, err := c.Insert(b.Context(), city(b, i)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := 0; b.Loop(); i++ {
		next <- i
	}
	close(next)
	wg.Wait()
}

func BenchmarkInsertBatch1000(b *testing.B) {
	_, c := benchDB(b)
	docs := make([]bson.Raw, 1000)
	for i := range docs {
		docs[i] = city(b, i)
	}
	for b.Loop() {
		if _, err := c.Insert(b.Context(), docs); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "docs/s")
}

func BenchmarkApplyRemote(b *testing.B) {
	_, c := benchDB(b)
	_ = c
	x, j := dbtest.OpenIn(b, memory(b), "writer")
	docs := make([]bson.Raw, 20_000)
	for i := range docs {
		docs[i] = city(b, i)
	}
	if err := x.CreateCollection(b.Context(), "cities", db.CollectionOptions{Indexes: []db.Index{{Keys: []db.IndexKey{{Path: "country"}}}}}); err != nil {
		b.Fatal(err)
	}
	if _, err := x.Collection("cities").Insert(b.Context(), docs); err != nil {
		b.Fatal(err)
	}
	es, err := j.Entries()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		y, yj := dbtest.Open(b, "reader")
		if err := yj.Deliver(es...); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		y.Wake()
		if err := y.Settle(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*20_000/b.Elapsed().Seconds(), "docs/s")
}

func BenchmarkFindIndexed(b *testing.B) {
	_, c := benchDB(b)
	docs := make([]bson.Raw, 10_000)
	for i := range docs {
		docs[i] = city(b, i)
	}
	if _, err := c.Insert(b.Context(), docs); err != nil {
		b.Fatal(err)
	}
	f := raw(b, d("country", "C7"))
	for b.Loop() {
		if len(all(b, c, f, db.FindOptions{})) == 0 {
			b.Fatal("nothing found")
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	st, err := engines.Open(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { st.Close() })
	x, j := dbtest.OpenIn(b, st, "a")
	docs := make([]bson.Raw, 1000)
	for k := range 50 {
		for i := range docs {
			docs[i] = city(b, k*1000+i)
		}
		if _, err := x.Collection("cities").Insert(b.Context(), docs); err != nil {
			b.Fatal(err)
		}
	}
	if err := x.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		y, err := replica.Open(b.Context(), replica.Options{Store: st, Prefix: []byte("D/"), Journal: j})
		if err != nil {
			b.Fatal(err)
		}
		if err := y.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
