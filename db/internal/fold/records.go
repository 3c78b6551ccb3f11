package fold

import (
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/internal/clock"
)

// record returns the record that arrived as number n, decoded.
func (b *batch) record(n int64) (*journal.Record, error) {
	return b.recordAhead(n, 1, nil)
}

// recordAhead is record where it is known which are asked for next: next(i) for
// 0 < i < k, 0 for none. If it must read the journal, it reads some of them, too.
func (b *batch) recordAhead(n int64, k int, next func(i int) int64) (*journal.Record, error) {
	if r := b.held(n); r != nil {
		return r, nil
	}
	return journal.ReadAhead(b.fold.Journal, &b.fold.recent, b.held, b.fold.places.Put, n, k, next)
}

// held returns a record that need not be read; nil if it must be.
func (b *batch) held(n int64) *journal.Record {
	if r := b.records[n]; r != nil {
		return r
	}
	return b.fold.recent.Get(n)
}

// mark returns what orders a record among those that stand at the same time: its clock, and
// itself.
func (b *batch) mark(n int64) (clock.Stamp, error) {
	if m, ok := b.marks[n]; ok {
		return m, nil
	}
	r, err := b.record(n)
	if err != nil {
		return clock.Stamp{}, err
	}
	m := clock.Stamp{Time: r.Clock, Log: r.ID.Log, Hash: r.ID.Hash}
	b.marks[n] = m
	return m, nil
}
