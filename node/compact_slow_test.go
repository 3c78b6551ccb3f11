//go:build slow

package node_test

import (
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/node"
)

// Disk after 1,000,000 updates to 10,000 documents and a compaction: at most 3
// times what the documents and one index take.
func TestCompactedSizeSlow(t *testing.T) {
	n := open(t, node.Config{})
	_, c := places(t, n, "atlas")
	docs, _ := benchData(t)
	live := int64(0)
	for i := range 10_000 {
		docs[i%len(docs)] = renamed(docs[i%len(docs)], i)
		live += int64(len(docs[i%len(docs)]))
		if _, err := c.Insert(t.Context(), docs[i%len(docs)]); err != nil {
			t.Fatal(err)
		}
	}
	fresh := compact(t, n, "atlas") // one snapshot besides the documents
	began := time.Now()
	for round := range 100 {
		inc := document(bson.D{{Key: "$set", Value: bson.D{{Key: "population", Value: int64(round) * 1000}}}})
		if _, err := c.Update(t.Context(), document(bson.D{}), inc, db.UpdateOptions{Many: true}); err != nil {
			t.Fatal(err)
		}
	}
	wrote := time.Since(began)
	before := info(t, n, "atlas")
	began = time.Now()
	got := compact(t, n, "atlas")
	t.Logf("documents %d bytes; store %d after inserts and a compaction, %d after 1,000,000 updates in %v, %d after a compaction in %v: %.2f times the documents",
		live, fresh.After, got.Before, wrote, got.After, time.Since(began), float64(got.After)/float64(live))
	if after := info(t, n, "atlas"); after.Hash != before.Hash || after.Documents != 10_000 {
		t.Fatalf("after %+v, before %+v", after, before)
	}
	if got.After > 3*live {
		t.Errorf("%d bytes on disk for %d bytes of documents", got.After, live)
	}
}
