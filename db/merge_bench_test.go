package db_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
)

// apart gives n updates of one document on each of two sides of a partition, as
// records; their times alternate. The first record of side 0 inserts the document.
func apart(t testing.TB, n int) (sides [2][]journal.Entry) {
	for i := range 2*n + 1 {
		op := db.NewOp(2, "hot", value.Int32(1), raw(t, d()), raw(t, d("$inc", d("n", 1), "$set", d(fmt.Sprintf("side%d", i%2), i))), false)
		if i == 0 {
			op = db.NewOp(1, "hot", value.Int32(1), nil, raw(t, d("_id", int32(1), "n", 0)), false)
		}
		e := journal.Entry{Time: clock.Time(i+1) << 16, Writer: "did:key:x", Role: "writer", Payload: db.Encode([]db.Op{op})}
		e.ID = clock.RecordID{Log: clock.LogID{byte(i%2 + 1)}, Seq: uint64(i + 1), Hash: clock.Hash{byte(i), byte(i >> 8), byte(i >> 16), 1}}
		sides[i%2] = append(sides[i%2], e)
	}
	return sides
}

func settle(t testing.TB, x *replica.Replica, j *dbtest.Journal, es []journal.Entry) {
	for part := range slices.Chunk(es, 10_000) { // what a transaction takes
		if err := j.Deliver(part...); err != nil {
			t.Fatal(err)
		}
	}
	x.Wake()
	if err := x.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkMergeOneDocument is the end of a partition in which each side updated one
// document n times; stall is the longest that an insert into another collection took
// meanwhile.
func BenchmarkMergeOneDocument(b *testing.B) {
	for _, n := range []int{500, 1_000, 5_000, 10_000, 50_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			sides := apart(b, n)
			var stall time.Duration
			for b.Loop() {
				b.StopTimer()
				x, j := dbtest.Open(b, "a")
				settle(b, x, j, sides[0])
				other := x.Collection("other")
				if _, err := other.Insert(b.Context(), raw(b, d("a", 1))); err != nil {
					b.Fatal(err)
				}
				for es := range slices.Chunk(sides[1], 10_000) { // what a transaction takes
					if err := j.Deliver(es...); err != nil {
						b.Fatal(err)
					}
				}
				stop, stopped := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(stopped)
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						from := time.Now()
						if _, err := other.Insert(b.Context(), raw(b, d("a", i))); err != nil {
							b.Error(err)
							return
						}
						stall = max(stall, time.Since(from))
					}
				}()
				b.StartTimer()
				x.Wake()
				if err := x.Settle(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				close(stop)
				<-stopped
				doc, err := x.Collection("hot").Get(b.Context(), bson.RawValue{Type: bson.TypeInt32, Value: []byte{1, 0, 0, 0}})
				if err != nil || doc.Raw.Lookup("n").Int32() != int32(2*n) {
					b.Fatal(doc, err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(2*n), "µs/op")
			b.ReportMetric(float64(stall.Microseconds())/1000, "ms-stall")
		})
	}
}
