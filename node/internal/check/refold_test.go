package check

import (
	"context"
	"errors"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store/engines"
)

// A turnstile is a journal that says how often it was asked for arrivals, before it answers.
type turnstile struct {
	replica.Journal
	asked func()
}

func (j turnstile) Arrivals(n int64, maxBytes int) ([]replica.Arrival, error) {
	j.asked()
	return j.Journal.Arrivals(n, 1) // one by one
}

// A log that is folded again gives its hash; when the context ends, the folding ends with
// what is under way, however much is left.
func TestRefold(t *testing.T) {
	const records = 2000
	d, journal := dbtest.Open(t, "d")
	for i := range records {
		doc, err := bson.Marshal(bson.D{{Key: "_id", Value: i}})
		if err == nil {
			_, err = d.Collection("things").Insert(t.Context(), doc)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	n, want := d.StateHash()
	refold := func(ctx context.Context, j replica.Journal) (clock.Hash, bool, error) {
		t.Helper()
		st, err := engines.OpenMemory()
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		return Refold(ctx, Log{Store: st, Name: "d", Prefix: []byte("p"), Journal: j, UpTo: n, Clock: new(clock.Clock)})
	}
	if got, whole, err := refold(t.Context(), journal); got != want || !whole || err != nil {
		t.Fatalf("got %s, %v, %v, want %s", got, whole, err, want)
	}

	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	_, whole, err := refold(ctx, turnstile{journal, func() {
		if asked++; asked == 10 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || whole || asked > records/2 {
		t.Fatalf("got %v, %v after it asked %d times for a record of %d", whole, err, asked, records)
	}
}
