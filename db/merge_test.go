package db_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// A counted journal counts calls that read, and the records that they give.
type counted struct {
	*dbtest.Journal
	calls, records atomic.Int64
}

func (c *counted) count(as []journal.Arrival, err error) ([]journal.Arrival, error) {
	c.calls.Add(1)
	c.records.Add(int64(len(as)))
	return as, err
}

func (c *counted) Arrivals(n int64, size int) ([]journal.Arrival, error) {
	return c.count(c.Journal.Arrivals(n, size))
}

func (c *counted) Read(ns []int64, size int) ([]journal.Arrival, error) {
	return c.count(c.Journal.Read(ns, size))
}

func openCounted(t *testing.T) (*replica.Replica, *counted) {
	t.Helper()
	st := memory(t)
	j, err := dbtest.NewJournal(st, "J/", "local")
	if err != nil {
		t.Fatal(err)
	}
	c := &counted{Journal: j}
	x, err := replica.Open(t.Context(), replica.Options{Store: st, Prefix: []byte("D/"), Journal: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x, c
}

// The end of a partition costs what the operations of both sides are, however many
// there are: each is judged again once and read once, in runs.
func TestMergeIsLinear(t *testing.T) {
	for _, n := range []int{500, 2000} {
		sides := apart(t, n)
		x, j := openCounted(t)
		settle(t, x, j.Journal, sides[0])
		judged, calls, records := db.Judged(x.DB), j.calls.Load(), j.records.Load()
		settle(t, x, j.Journal, sides[1])
		judged, calls, records = db.Judged(x.DB)-judged, j.calls.Load()-calls, j.records.Load()-records
		t.Logf("%d + %d operations: %d judged, %d records read in %d calls", n, n, judged, records, calls)
		if judged > int64(2*n+100) || records > int64(4*n+300) || calls > int64(n/25) {
			t.Errorf("%d + %d operations: %d judged, %d records read in %d calls", n, n, judged, records, calls)
		}
		if n == 500 {
			same(t, x, slices.Concat(sides[0], sides[1]), fold.Cut{})
		}
	}
}

// A late record costs the operations after its place, and those after the last cached
// state before it.
func TestLateRecordCostsWhatIsAfterIt(t *testing.T) {
	const n = 1000
	sides := apart(t, n)
	x, j := openCounted(t)
	settle(t, x, j.Journal, sides[0])
	for _, at := range []int{n - 1, n - 100, n / 2} {
		before := db.Judged(x.DB)
		settle(t, x, j.Journal, sides[1][at:at+1])
		if judged := db.Judged(x.DB) - before; judged > int64(n-at+64+8) {
			t.Errorf("a record with %d operations after it: %d judged", n-at, judged)
		}
	}
}

// The late operations of one record are folded together.
func TestLateRecordOfManyOperations(t *testing.T) {
	const n = 500
	sides := apart(t, n)
	var ops []db.Op
	for i := range n {
		ops = append(ops, db.NewOp(2, "hot", value.Int32(1), raw(t, d()), raw(t, d("$set", d("late", i))), false))
	}
	e := sides[1][0]
	e.Payload = db.Encode(ops)
	x, j := openCounted(t)
	settle(t, x, j.Journal, sides[0])
	before := db.Judged(x.DB)
	settle(t, x, j.Journal, []journal.Entry{e})
	if judged := db.Judged(x.DB) - before; judged > 2*n+100 {
		t.Errorf("%d operations on a document with %d after them: %d judged", n, n, judged)
	}
	same(t, x, append(slices.Clone(sides[0]), e), fold.Cut{})
}

// partition draws what three devices write on few documents, long apart from each
// other: times of one overlap those of the others.
func partition(t *rapid.T, tb testing.TB, most int) (sides [3][]journal.Entry) {
	for l := range sides {
		at := clock.Time(rapid.IntRange(1, 40).Draw(t, "begins"))
		for i := range rapid.IntRange(0, most).Draw(t, "records") {
			at += clock.Time(rapid.IntRange(1, 3).Draw(t, "tick"))
			e := journal.Entry{Time: at << 16, Atomic: rapid.IntRange(0, 5).Draw(t, "atomic") == 0}
			e.ID = clock.RecordID{Log: clock.LogID{byte(l + 1)}, Seq: uint64(i + 1), Hash: clock.Hash{byte(i), byte(l), 1}}
			if rapid.IntRange(0, 9).Draw(t, "any") == 0 {
				e.Payload = db.Encode(genOps(t, tb))
			} else {
				id := value.Int32(rapid.Int32Range(0, 1).Draw(t, "id"))
				change := rapid.SampledFrom([]any{d("$inc", d("n", 1)), d("$push", d("l", int32(i))), d("$set", d("n", int32(l)))}).Draw(t, "change").(bsonD)
				e.Payload = db.Encode([]db.Op{db.NewOp(2, "a", id, raw(tb, d()), raw(tb, change), true)})
			}
			sides[l] = append(sides[l], e)
		}
	}
	return sides
}

// Long partitions end in the state of the reference, whatever is written to the same
// documents between the pieces, wherever the process ends, and whatever is cut off
// meanwhile.
func TestPartitionsEnd(t *testing.T) {
	checks(t, "40")
	rapid.Check(t, func(rt *rapid.T) {
		sides := partition(rt, t, 40)
		st := openMemory(rt)
		var s store.Store = &tight{Store: st, puts: rapid.SampledFrom([]int{14, 60, 100_000}).Draw(rt, "puts"), commits: -1}
		j, err := dbtest.NewJournal(st, "J/", "local")
		if err != nil {
			rt.Fatal(err)
		}
		var clk *clock.Clock
		if rapid.Bool().Draw(rt, "clock behind") { // so that local operations come between others', too
			clk = &clock.Clock{Wall: func() time.Time { return time.UnixMilli(20) }}
		}
		open := func() *replica.Replica {
			x, err := replica.Open(t.Context(), replica.Options{Store: s, Prefix: []byte("D/"), Journal: j, Clock: clk})
			if err == nil {
				err = db.BaseEvery(x.DB, 8)
			}
			if err == nil {
				err = db.SmallPieces(x.DB, rapid.SampledFrom([]int{1, 5, 512}).Draw(rt, "piece"))
			}
			if err != nil {
				rt.Fatal(err)
			}
			return x
		}
		x := open()
		// A definition and local operations between the pieces, on the same documents.
		write := func(i int) {
			c := x.Collection("a")
			var err error
			switch i % 4 {
			case 0:
				_, err = c.Update(context.Background(), raw(t, d("_id", int32(i%3))), raw(t, d("$inc", d("w", 1))), db.UpdateOptions{Upsert: true})
			case 1:
				err = x.Transaction(context.Background(), db.TxOptions{Atomic: true}, func(tx *db.Tx) error {
					for k := range int32(2) {
						if _, err := tx.Update("a", raw(t, d("_id", k)), raw(t, d("$push", d("l", "local"))), db.UpdateOptions{Upsert: true}); err != nil {
							return err
						}
					}
					return nil
				})
			default:
				_, err = x.Collection("other").Insert(context.Background(), raw(t, d("i", i)))
			}
			if errors.Is(err, db.ErrClosed) || errors.Is(err, store.ErrTooBig) { // others are refusals
				rt.Error(err)
			}
		}
		var void fold.Cut
		for l, es := range sides {
			if err := j.Deliver(es...); err != nil {
				rt.Fatal(err)
			}
			x.Wake()
			for i := range rapid.IntRange(0, 6).Draw(rt, "writes") {
				write(i + l)
			}
			if rapid.IntRange(0, 3).Draw(rt, "cut") == 0 {
				void = setVoid(rt, t, x, es)
			}
			if rapid.Bool().Draw(rt, "ends") {
				if err := x.Close(); err != nil {
					rt.Fatal(err)
				}
				x = open()
			}
		}
		if err := x.Settle(t.Context()); err != nil {
			rt.Fatal(err)
		}
		es, err := j.Entries()
		if err != nil {
			rt.Fatal(err)
		}
		same(rt, x, es, void)
		if err := x.Close(); err != nil {
			rt.Fatal(err)
		}
		if err := st.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

// Every replica tells the same refusals with the same words in the same order.
func TestRefusalsAreEqual(t *testing.T) {
	checks(t, "40")
	rapid.Check(t, func(rt *rapid.T) {
		es := genEntries(rt, t, 25)
		var want []string
		for r := range 3 {
			st := openMemory(rt)
			x, j := openReplica(rt, t, st)
			order := rapid.Permutation(es).Draw(rt, fmt.Sprint("order", r))
			for len(order) > 0 {
				n := rapid.IntRange(1, len(order)).Draw(rt, "delivered")
				if err := j.Deliver(order[:n]...); err != nil {
					rt.Fatal(err)
				}
				x.Wake()
				if err := x.Settle(t.Context()); err != nil {
					rt.Fatal(err)
				}
				order = order[n:]
			}
			got := refusalTexts(rt, x, db.RefusedOptions{})
			if r == 0 {
				want = got
			} else if !slices.Equal(got, want) {
				rt.Fatalf("the refusals differ:\n%q\n%q", got, want)
			}
			newest := refusalTexts(rt, x, db.RefusedOptions{Newest: true})
			slices.Reverse(newest)
			if !slices.Equal(newest, want) {
				rt.Fatalf("backwards they differ:\n%q\n%q", newest, want)
			}
			if err := x.Close(); err != nil {
				rt.Fatal(err)
			}
			if err := st.Close(); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

func refusalTexts(t rapid.TB, x *replica.Replica, o db.RefusedOptions) (out []string) {
	for r, err := range x.Refused(context.Background(), o) {
		if err != nil {
			t.Fatal(err)
		}
		b, err := bson.Marshal(d("stamp", fmt.Sprint(r.Stamp), "op", r.Operation, "coll", r.Collection, "why", r.Reason, "message", r.Message))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, bson.Raw(b).String()+fmt.Sprintf("%v %+v", r.ID, r.Body))
	}
	return out
}
