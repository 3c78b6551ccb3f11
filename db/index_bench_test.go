package db_test

import (
	"fmt"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
)

// BenchmarkInsertIndexes is batched inserts by the number of indexes; with three
// they are to be at least half as fast as with one.
func BenchmarkInsertIndexes(b *testing.B) {
	keys := []db.Index{
		{Keys: []db.IndexKey{{Path: "country"}}},
		{Keys: []db.IndexKey{{Path: "population", Desc: true}}},
		{Keys: []db.IndexKey{{Path: "feature.code"}, {Path: "name"}}},
	}
	for _, c := range []struct {
		name    string
		indexes []db.Index
	}{
		{"0", nil},
		{"1", keys[:1]},
		{"3", keys},
		{"unique", []db.Index{{Keys: []db.IndexKey{{Path: "ascii"}}, Unique: true}}},
		{"text", []db.Index{{Keys: []db.IndexKey{{Path: "name", Text: true}}}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			x, _ := dbtest.Open(b, "a")
			if err := x.CreateCollection(b.Context(), "cities", db.CollectionOptions{Indexes: c.indexes}); err != nil {
				b.Fatal(err)
			}
			docs := make([]bson.Raw, 1000)
			n := 0
			for b.Loop() {
				b.StopTimer()
				for i := range docs {
					docs[i] = city(b, n)
					n++
				}
				b.StartTimer()
				if _, err := x.Collection("cities").Insert(b.Context(), docs); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "docs/s")
		})
	}
}

// BenchmarkBuildIndex fills an index over 20,000 documents.
func BenchmarkBuildIndex(b *testing.B) {
	x, _ := dbtest.Open(b, "a")
	c := x.Collection("cities")
	docs := make([]bson.Raw, 20_000)
	for i := range docs {
		docs[i] = city(b, i)
	}
	if _, err := c.Insert(b.Context(), docs); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		name, err := c.CreateIndex(b.Context(), db.Index{Name: fmt.Sprint("x", i), Keys: []db.IndexKey{{Path: "country"}}})
		if err != nil {
			b.Fatal(err)
		}
		if err := c.DropIndex(b.Context(), name); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*20_000/b.Elapsed().Seconds(), "docs/s")
}
