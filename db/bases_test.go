package db_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
)

// Cached states never change an outcome: with a state cached every third
// operation, atomic records that join documents, equal times and late records,
// every prefix of every order gives the reference's state.
func TestCachedStatesChangeNothing(t *testing.T) { cachedStates(t, 60) }

func cachedStates(t *testing.T, seeds uint64) {
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 1))
		order := jointRecords(t, r)
		a := newReplica(t, "a")
		if err := db.BaseEvery(a.x.DB, 3); err != nil {
			t.Fatal(err)
		}
		for done := 0; done < len(order); {
			k := 1 + r.IntN(min(len(order)-done, 10))
			a.deliver(t, order[done:done+k]...)
			done += k
			t.Run(fmt.Sprint(seed, "-", done), func(t *testing.T) { same(t, a.x, order[:done], fold.Cut{}) })
			if t.Failed() {
				return
			}
		}
	}
}

// jointRecords draws records of three logs on four documents, a third of them
// atomic, locally out of order.
func jointRecords(t *testing.T, r *rand.Rand) []journal.Entry {
	t.Helper()
	var es []journal.Entry
	var times [3]clock.Time
	n := 20 + r.IntN(100)
	for i := range n {
		l := r.IntN(3)
		times[l] += clock.Time(1 + r.IntN(2))
		e := journal.Entry{Time: times[l] << 16, Atomic: r.IntN(3) == 0}
		e.ID = clock.RecordID{Log: clock.LogID{byte(l + 1)}, Seq: uint64(i + 1), Hash: clock.Hash{byte(i), byte(i >> 8), 1}}
		var ops []db.Op
		k := 1
		if e.Atomic || r.IntN(4) == 0 {
			k = 1 + r.IntN(4)
		}
		for range k {
			ops = append(ops, jointOp(t, r, i))
		}
		e.Payload = db.Encode(ops)
		es = append(es, e)
	}
	w := 1 + r.IntN(n)
	order := slices.Clone(es)
	for i := range order {
		j := i + r.IntN(min(w, n-i))
		order[i], order[j] = order[j], order[i]
	}
	return order
}

func jointOp(t *testing.T, r *rand.Rand, i int) db.Op {
	t.Helper()
	id := int32(r.IntN(4))
	key, f := value.Int32(id), raw(t, d("_id", id))
	switch r.IntN(6) {
	case 0:
		return db.NewOp(1, "c", key, nil, f, false)
	case 1:
		return db.NewOp(4, "c", key, f, nil, false)
	case 2:
		return db.NewOp(2, "c", key, raw(t, d("_id", id, "n", r.IntN(4))), raw(t, d("$inc", d("n", 1))), false)
	case 3:
		return db.NewOp(2, "c", key, f, raw(t, d("$inc", d("n", 1))), false)
	case 4:
		return db.NewOp(2, "c", key, f, raw(t, d("$push", d("l", i))), true)
	}
	return db.NewOp(2, "c", key, f, raw(t, d("$inc", d("n", 1))), true)
}
