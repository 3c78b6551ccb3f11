package db_test

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
)

// places are the documents of WEFT_BENCH_DATA, in a database of their own that
// the benchmarks of reads share.
var places struct {
	once sync.Once
	docs []bson.Raw
	dir  string
	err  error
}

func loadPlaces(b *testing.B) []bson.Raw {
	b.Helper()
	places.once.Do(func() {
		name := os.Getenv("WEFT_BENCH_DATA")
		if name == "" {
			name = "../testdata/cities-sample.jsonl.gz"
		}
		f, err := os.Open(name)
		if err != nil {
			places.err = err
			return
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			places.err = err
			return
		}
		lines := bufio.NewScanner(z)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var doc bson.Raw
			if doc, places.err = db.ParseJSON(lines.Bytes()); places.err != nil {
				return
			}
			places.docs = append(places.docs, doc)
		}
		places.err = lines.Err()
	})
	if places.err != nil {
		b.Fatal(places.err)
	}
	return places.docs
}

// placesDB holds the places in a store on disk, opened anew so that they are
// in its tables.
func placesDB(b *testing.B) (*db.Collection, []bson.Raw) {
	b.Helper()
	docs := loadPlaces(b)
	dir := b.TempDir()
	open := func() (store.Store, *replica.Replica) {
		st, err := engines.Open(dir, nil)
		if err != nil {
			b.Fatal(err)
		}
		x, _ := dbtest.OpenIn(b, st, "a")
		return st, x
	}
	st, x := open()
	err := x.CreateCollection(b.Context(), "places", db.CollectionOptions{Indexes: []db.Index{
		{Keys: []db.IndexKey{{Path: "country"}}}, {Keys: []db.IndexKey{{Path: "population"}}},
	}})
	if err != nil {
		b.Fatal(err)
	}
	for rest := docs; len(rest) > 0; {
		n := min(1000, len(rest))
		if _, err := x.Collection("places").Insert(b.Context(), rest[:n]); err != nil {
			b.Fatal(err)
		}
		rest = rest[n:]
	}
	b.Cleanup(func() { st.Close() })
	return x.Collection("places"), docs
}

func perSecond(b *testing.B, n int) {
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "docs/s")
}

func BenchmarkGet(b *testing.B) {
	c, docs := placesDB(b)
	ids := make([]bson.RawValue, len(docs))
	for i, d := range docs {
		ids[i*7919%len(docs)] = d.Lookup("_id")
	}
	n := 0
	for b.Loop() {
		if _, err := c.Get(b.Context(), ids[n%len(ids)]); err != nil {
			b.Fatal(err)
		}
		n++
	}
	perSecond(b, n)
}

// drain reads a result without keeping it and returns its length.
func drain(b *testing.B, c *db.Collection, filter any, o db.FindOptions) int {
	cur, err := c.Find(b.Context(), filter, o)
	if err != nil {
		b.Fatal(err)
	}
	defer cur.Close()
	n := 0
	for cur.Next() {
		n += min(1, len(cur.Raw()))
	}
	if cur.Err() != nil {
		b.Fatal(cur.Err())
	}
	return n
}

// BenchmarkIndexedEquality finds the documents of one country, about 1 %.
func BenchmarkIndexedEquality(b *testing.B) {
	c, _ := placesDB(b)
	f := raw(b, d("country", "CO"))
	n := 0
	for b.Loop() {
		n += drain(b, c, f, db.FindOptions{})
	}
	b.ReportMetric(float64(n)/float64(b.N), "docs/op")
	perSecond(b, n)
}

// BenchmarkScan matches every document against two fields, without an index.
func BenchmarkScan(b *testing.B) {
	c, docs := placesDB(b)
	f := raw(b, d("feature", "PPLA2", "population", d("$gt", 50_000)))
	n := 0
	for b.Loop() {
		drain(b, c, f, db.FindOptions{NoIndex: true})
		n += len(docs)
	}
	perSecond(b, n)
}

func BenchmarkSortLimit(b *testing.B) {
	c, _ := placesDB(b)
	for name, o := range map[string]db.FindOptions{
		"index":    {Sort: raw(b, d("population", 1)), Limit: 20},
		"backward": {Sort: raw(b, d("population", -1)), Limit: 20},
		"none":     {Sort: raw(b, d("population", -1)), Limit: 20, NoIndex: true},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				drain(b, c, nil, o)
			}
		})
	}
}

// BenchmarkClusteredEquality finds documents of one import among many by an index: their
// _ids rise with the others', so that they lie together in a few places. What a document
// that matches costs is not to depend on how many others there are. WEFT_BENCH_MILLION
// adds a collection of a million.
func BenchmarkClusteredEquality(b *testing.B) {
	sizes := []int{1_000, 10_000, 100_000, 300_000}
	if os.Getenv("WEFT_BENCH_MILLION") != "" {
		sizes = append(sizes, 1_000_000)
	}
	for _, size := range sizes {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			st, err := engines.Open(b.TempDir(), nil)
			if err != nil {
				b.Fatal(err)
			}
			defer st.Close()
			x, _ := dbtest.OpenIn(b, st, "a")
			c := x.Collection("c")
			if _, err := c.CreateIndex(b.Context(), db.Index{Keys: []db.IndexKey{{Path: "lot"}}}); err != nil {
				b.Fatal(err)
			}
			for from := 0; from < size; from += 1000 {
				docs := make([]bson.Raw, 0, 1000)
				for i := from; i < from+1000; i++ {
					// 3 imports, each of 0.2 % of the documents, have lot 1.
					lot := i
					if i%(size/3) < size/500 {
						lot = 1
					}
					docs = append(docs, raw(b, d("_id", fmt.Sprintf("%012x", i), "lot", lot, "text", "a few words to give it a size")))
				}
				if _, err := c.Insert(b.Context(), docs); err != nil {
					b.Fatal(err)
				}
			}
			f := raw(b, d("lot", 1))
			n := 0
			for b.Loop() {
				n += drain(b, c, f, db.FindOptions{})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/doc")
			b.ReportMetric(float64(n)/float64(b.N), "docs/op")
		})
	}
}
