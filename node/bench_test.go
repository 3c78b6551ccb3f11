package node_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/store/storetest"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
)

// The benchmarks of docs/performance.md: whole nodes, real badger, real libp2p
// on loopback. Each compares inside one run, because machines are noisy.

// benchData is the data set: the file that WEFT_BENCH_DATA names, or the sample.
func benchData(tb testing.TB) (docs []bson.Raw, jsonl int64) {
	tb.Helper()
	path := os.Getenv("WEFT_BENCH_DATA")
	if path == "" {
		path = filepath.Join("..", "testdata", "cities-sample.jsonl.gz")
	}
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		var doc bson.D
		if err := bson.UnmarshalExtJSON(lines.Bytes(), false, &doc); err != nil {
			tb.Fatal(err)
		}
		raw, err := bson.Marshal(doc)
		if err != nil {
			tb.Fatal(err)
		}
		docs = append(docs, raw)
		jsonl += int64(len(lines.Bytes())) + 1
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	return docs, jsonl
}

func openNode(tb testing.TB, c node.Config) *node.Node {
	tb.Helper()
	if c.Home == "" {
		c.Home = tb.TempDir()
	}
	n, err := node.Open(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := n.Close(); err != nil {
			tb.Error(err)
		}
	})
	return n
}

// places makes a database with one indexed collection.
func places(tb testing.TB, n *node.Node, name string) (*db.DB, *db.Collection) {
	tb.Helper()
	d, err := n.CreateDatabase(tb.Context(), name)
	if err != nil {
		tb.Fatal(err)
	}
	c := d.Collection("places")
	if _, err := c.CreateIndex(tb.Context(), db.Index{Keys: []db.IndexKey{{Path: "country"}}}); err != nil {
		tb.Fatal(err)
	}
	return d, c
}

// renamed returns the document with another _id, so that it can be inserted again.
func renamed(doc bson.Raw, n int) bson.Raw {
	out := bson.D{{Key: "_id", Value: fmt.Sprintf("%09d", n)}}
	elements, err := doc.Elements()
	if err != nil {
		panic(err)
	}
	for _, e := range elements {
		if e.Key() != "_id" {
			out = append(out, bson.E{Key: e.Key(), Value: e.Value()})
		}
	}
	raw, err := bson.Marshal(out)
	if err != nil {
		panic(err)
	}
	return raw
}

// A yardstick inserts the same documents into a raw badger with one index.
type yardstick struct {
	tb  testing.TB
	raw *storetest.Raw
	n   uint64
}

func newYardstick(tb testing.TB) *yardstick {
	tb.Helper()
	raw, err := storetest.OpenRaw(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = raw.Close() })
	return &yardstick{tb: tb, raw: raw}
}

func (y *yardstick) insert(docs []bson.Raw) {
	var ks, xs, vs [][]byte
	for _, d := range docs {
		y.n++
		k := binary.BigEndian.AppendUint64([]byte("d/places/"), y.n*0x9e3779b97f4a7c15)
		country, _ := d.Lookup("country").StringValueOK()
		ks, vs = append(ks, k), append(vs, d)
		xs = append(xs, append(append([]byte("i/places/"), country...), k...))
	}
	if err := y.raw.Insert(ks, xs, vs); err != nil {
		y.tb.Fatal(err)
	}
}

// benchPairs inserts batches of size documents into a node and into raw badger
// in turn.
func benchPairs(b *testing.B, size int) {
	docs, _ := benchData(b)
	_, c := places(b, openNode(b, node.Config{}), "bench")
	y := newYardstick(b)
	var ours, raw time.Duration
	n := 0
	for b.Loop() {
		batch := make([]bson.Raw, size)
		for i := range batch {
			batch[i] = renamed(docs[n%len(docs)], n)
			n++
		}
		start := time.Now()
		if _, err := c.Insert(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(start)
		start = time.Now()
		y.insert(batch)
		raw += time.Since(start)
	}
	b.ReportMetric(float64(n)/ours.Seconds(), "docs/s")
	b.ReportMetric(float64(n)/raw.Seconds(), "raw-docs/s")
	b.ReportMetric(raw.Seconds()/ours.Seconds(), "ratio")
}

// Bar: at least 0.5 of raw badger.
func BenchmarkInsertOne(b *testing.B) { benchPairs(b, 1) }

// Bar: at least 80,000 documents/s, or 0.37 of raw badger.
func BenchmarkInsertBatch(b *testing.B) { benchPairs(b, 1000) }

// Bar: 64 writers do at least 2 times what one does.
func BenchmarkInsert64(b *testing.B) {
	docs, _ := benchData(b)
	_, c := places(b, openNode(b, node.Config{}), "bench")
	var n atomic.Int64
	round := func(writers int) float64 {
		start := time.Now()
		var wg sync.WaitGroup
		const each = 512
		for range writers {
			wg.Go(func() {
				for range each / writers {
					i := int(n.Add(1))
					if _, err := c.Insert(b.Context(), renamed(docs[i%len(docs)], i)); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		return each / time.Since(start).Seconds()
	}
	var one, many float64
	rounds := 0.0
	for b.Loop() {
		one += round(1)
		many += round(64)
		rounds++
	}
	b.ReportMetric(many/rounds, "docs/s")
	b.ReportMetric(one/rounds, "one-writer-docs/s")
	b.ReportMetric(many/one, "ratio")
}

// A trio is a relay and a device that uses it; join adds another.
type trio struct {
	tb          testing.TB
	relay, a    *node.Node
	addr        string
	key, secret string
}

func newTrio(tb testing.TB) *trio {
	tb.Helper()
	t := &trio{tb: tb, relay: openNode(tb, node.Config{Relay: true})}
	k, secret, err := t.relay.CreateKey(node.KeyOptions{Kind: keys.KindUser, Name: "bench"})
	if err != nil {
		tb.Fatal(err)
	}
	t.key, t.secret = k.Text(), secret.Text()
	for _, s := range t.relay.Addrs() {
		t.addr = s
	}
	t.a = t.device()
	return t
}

func (t *trio) device() *node.Node {
	t.tb.Helper()
	n := openNode(t.tb, node.Config{})
	if _, err := n.AddRelay(t.tb.Context(), t.addr, node.RelayOptions{Key: t.key, Secret: t.secret}); err != nil {
		t.tb.Fatal(err)
	}
	return n
}

// identical waits until the database of n is identical at every relay.
func (t *trio) identical(n *node.Node, name string) {
	t.tb.Helper()
	ctx, cancel := context.WithTimeout(t.tb.Context(), 2*time.Minute)
	defer cancel()
	for {
		s, changed, err := n.DatabaseStatus(ctx, name)
		if err != nil {
			t.tb.Fatal(err)
		}
		if len(s.Peers) > 0 && !slices.ContainsFunc(s.Peers, func(p node.PeerStatus) bool { return p.Role == "relay" && p.State != "identical" }) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.tb.Fatalf("not identical in time: %+v", s.Peers)
		}
	}
}

// Bar: at least 80,000 documents/s, fold and index included; received bytes at
// most half of the JSONL.
func BenchmarkCatchUp(b *testing.B) {
	docs, jsonl := benchData(b)
	t := newTrio(b)
	d, c := places(b, t.a, "bench")
	for batch := range slices.Chunk(docs, 1000) {
		if _, err := c.Insert(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	t.identical(t.a, "bench")
	want := d.Info()
	info, err := t.a.DatabaseInfo(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	var took time.Duration
	joins := 0
	for b.Loop() {
		b.StopTimer()
		url, err := t.a.Invite(b.Context(), "bench", node.InviteOptions{})
		if err != nil {
			b.Fatal(err)
		}
		t.identical(t.a, "bench")
		joiner := t.device()
		b.StartTimer()
		start := time.Now()
		if _, err := joiner.Join(b.Context(), url, "bench"); err != nil {
			b.Fatal(err)
		}
		t.identical(joiner, "bench")
		took += time.Since(start)
		joins++
		b.StopTimer()
		got, err := joiner.DatabaseInfo(b.Context(), "bench")
		if err != nil || got.Hash != want.Hash || got.Documents != want.Documents {
			b.Fatalf("%v: got %d documents, hash %v, want %d, %v", err, got.Documents, got.Hash, want.Documents, want.Hash)
		}
		if err := joiner.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(joins*len(docs))/took.Seconds(), "docs/s")
	b.ReportMetric(float64(info.Bytes)/float64(jsonl), "bytes/jsonl")
}

// Bar: committed on A until readable on B, durable on both: p50 at most 1 ms,
// p99 at most 5 ms.
func BenchmarkLive(b *testing.B) {
	docs, _ := benchData(b)
	t := newTrio(b)
	_, c := places(b, t.a, "bench")
	url, err := t.a.Invite(b.Context(), "bench", node.InviteOptions{})
	if err != nil {
		b.Fatal(err)
	}
	t.identical(t.a, "bench")
	other := t.device()
	if _, err := other.Join(b.Context(), url, "bench"); err != nil {
		b.Fatal(err)
	}
	if err := other.Connect(b.Context(), t.a.Addrs()[0]); err != nil {
		b.Fatal(err)
	}
	t.identical(other, "bench")
	there, err := other.Database(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	w, err := there.Watch(b.Context(), db.WatchOptions{Collections: []string{"places"}})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	var all []time.Duration
	for b.Loop() {
		doc := renamed(docs[len(all)%len(docs)], len(all))
		if _, err := c.Insert(b.Context(), doc); err != nil {
			b.Fatal(err)
		}
		committed := time.Now()
		if _, err := w.Next(b.Context()); err != nil {
			b.Fatal(err)
		}
		all = append(all, max(0, time.Since(committed)))
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
}

// Bar: at most 300 ms, independent of the length of the log.
func BenchmarkOpen(b *testing.B) {
	docs, _ := benchData(b)
	home := b.TempDir()
	n := openNode(b, node.Config{Home: home})
	_, c := places(b, n, "bench")
	for batch := range slices.Chunk(docs, 1000) {
		if _, err := c.Insert(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	if err := n.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		n, err := node.Open(b.Context(), node.Config{Home: home})
		if err != nil {
			b.Fatal(err)
		}
		d, err := n.Database(b.Context(), "bench")
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if got := d.Info().Documents; got != int64(len(docs)) {
			b.Fatalf("got %d documents, want %d", got, len(docs))
		}
		if err := n.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
