package check

import (
	"context"
	"errors"
	"slices"

	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A Log is what is folded again, up to an arrival.
type Log struct {
	Store   store.Store // an empty one
	Name    string      // of the database
	Prefix  []byte      // as in its own store: a hash of documents may not hang on it
	Journal replica.Journal
	UpTo    int64 // the last arrival
	Cut     replica.Cut
	Clock   *clock.Clock
}

// Refold folds a log from nothing, in a store of its own, and returns the state hash; whole
// says that all of it was folded. When ctx ends, so does Refold, soon.
func Refold(ctx context.Context, l Log) (hash clock.Hash, whole bool, err error) {
	log, err := newReplay(l.Journal, l.UpTo)
	if err != nil {
		return hash, false, err
	}
	again, err := replica.Open(ctx, replica.Options{Store: l.Store, Name: l.Name, Prefix: l.Prefix, Journal: log, Clock: l.Clock})
	if err != nil {
		return hash, false, err
	}
	defer func() { err = errors.Join(err, again.Close()) }()
	defer context.AfterFunc(ctx, func() { _ = again.Close() })() // who waits for the fold does not look at ctx
	err = again.SetCut(ctx, l.Cut)
	if err == nil {
		err = again.Settle(ctx)
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return hash, false, err
	}
	at, hash := again.StateHash()
	return hash, at == int64(len(log.numbers)), nil
}

// A replay is a journal up to an arrival, to be folded from nothing by who writes
// nothing. Its numbers have no gaps: those of what was cut off are not there.
type replay struct {
	journal replica.Journal
	numbers []int64 // of the journal, by number here less one
}

var _ replica.Journal = (*replay)(nil) // not by embedding: a number that is not mapped is another record

// newReplay maps the numbers of the journal up to an arrival, without reading records.
func newReplay(j replica.Journal, upTo int64) (*replay, error) {
	r := &replay{journal: j}
	return r, j.IDs(0, func(n int64, _ clock.RecordID, _ bool) bool {
		if n <= upTo {
			r.numbers = append(r.numbers, n)
		}
		return n < upTo
	})
}

// there returns the journal's number of a number here.
func (r *replay) there(n int64) int64 {
	if n == 0 {
		return 0
	}
	return r.numbers[min(n, int64(len(r.numbers)))-1]
}

// here is the inverse of there; 0 for a number that is not replayed.
func (r *replay) here(n int64) int64 {
	i, found := slices.BinarySearch(r.numbers, n)
	if !found {
		return 0
	}
	return int64(i) + 1
}

// Append is never called: who replays writes nothing.
func (r *replay) Append(store.Tx, []replica.Draft) ([]clock.RecordID, int64, func(bool), error) {
	return nil, 0, nil, fault.Errorf(fault.Closed, "what is folded again is not written")
}

func (r *replay) Flushed(int64) {}

func (r *replay) Arrivals(n int64, maxBytes int) ([]replica.Arrival, error) {
	in, err := r.journal.Arrivals(r.there(n), maxBytes)
	for i := range in {
		if in[i].N = r.here(in[i].N); in[i].N == 0 {
			return in[:i], err
		}
	}
	return in, err
}

func (r *replay) Read(ns []int64, maxBytes int) ([]replica.Arrival, error) {
	there := make([]int64, 0, len(ns))
	for _, n := range ns {
		if n > 0 && n <= int64(len(r.numbers)) {
			there = append(there, r.numbers[n-1])
		}
	}
	in, err := r.journal.Read(there, maxBytes)
	for i := range in {
		in[i].N = r.here(in[i].N)
	}
	return in, err
}

func (r *replay) IDs(n int64, f func(n int64, id clock.RecordID, snapshot bool) bool) error {
	return r.journal.IDs(r.there(n), func(n int64, id clock.RecordID, snapshot bool) bool {
		n = r.here(n)
		return n > 0 && f(n, id, snapshot)
	})
}

// Right implements [replica.Journal].
func (r *replay) Right(id clock.RecordID) (role string, rank []byte, err error) {
	return r.journal.Right(id)
}

// View implements [replica.Journal]; nothing is written.
func (r *replay) View(int) []clock.RecordID { return nil }

// Held implements [replica.Journal].
func (r *replay) Held(id clock.RecordID) (at clock.Time, held bool, err error) {
	return r.journal.Held(id)
}

// Precedes implements [replica.Journal].
func (r *replay) Precedes(id, head clock.RecordID) (bool, error) { return r.journal.Precedes(id, head) }

// Unseen implements [replica.Journal].
func (r *replay) Unseen(heads []clock.RecordID) (at clock.Time, ok bool, err error) {
	return r.journal.Unseen(heads)
}

// Authority implements [replica.Journal].
func (r *replay) Authority() clock.Hash { return r.journal.Authority() }

// Writer implements [replica.Journal].
func (r *replay) Writer() (identity, role string) { return r.journal.Writer() }
