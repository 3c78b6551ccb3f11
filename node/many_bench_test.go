package node_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/node"
)

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// A node with 1,000 databases of 100 documents each, of which ten are used: how
// long it takes to start and to load one, and what is in memory, beside a node
// with ten and a node that keeps all of them loaded.
func BenchmarkThousandDatabases(b *testing.B) {
	for _, c := range []struct {
		name   string
		many   int
		loaded int // 0: the default
	}{{"all=1000", 1000, 0}, {"all=10", 10, 0}, {"all=1000/loaded", 1000, -1}} {
		b.Run(c.name, func(b *testing.B) { benchMany(b, c.many, c.loaded) })
	}
}

func benchMany(b *testing.B, many, loaded int) {
	const used = 10
	ctx := b.Context()
	home := filepath.Join(b.TempDir(), "home")
	n := openNode(b, node.Config{Home: home})
	docs, _ := benchData(b)
	for i := range many {
		h, err := n.CreateDatabase(ctx, fmt.Sprintf("db-%d", i))
		if err == nil {
			_, err = h.Collection("cities").Insert(ctx, docs[:100])
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := n.Close(); err != nil {
		b.Fatal(err)
	}
	filter := document(bson.D{{Key: "country", Value: "JP"}})
	use := func(n *node.Node, i int) time.Duration {
		start := time.Now()
		h, err := n.Database(ctx, fmt.Sprintf("db-%d", i))
		if err == nil {
			_, err = h.Collection("cities").Count(ctx, filter)
		}
		if err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	before := heap()
	var start, first time.Duration
	var rest, after float64
	for b.Loop() {
		begin := time.Now()
		n, err := node.Open(ctx, node.Config{Home: home, MaxLoaded: loaded})
		if err != nil {
			b.Fatal(err)
		}
		start += time.Since(begin)
		rest += heap() - before
		if loaded < 0 {
			for i := range many {
				use(n, i)
			}
		}
		for i := range used {
			first += use(n, i) / used
		}
		after += heap() - before
		if err := n.Close(); err != nil {
			b.Fatal(err)
		}
	}
	k := float64(b.N)
	b.ReportMetric(start.Seconds()*1e3/k, "ms/start")
	b.ReportMetric(first.Seconds()*1e3/k, "ms/first-query")
	b.ReportMetric(rest/k, "MiB/started")
	b.ReportMetric(after/k, "MiB/used")
}
