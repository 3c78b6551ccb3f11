package fold

import (
	"slices"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/internal/clock"
)

// What folding again reads of the journal: the records that come next are read
// together.
const (
	maxReadAhead      = 256
	maxReadAheadBytes = 1 << 20
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
	ns := []int64{n}
	for i := 1; i < min(k, maxReadAhead); i++ {
		if m := next(i); m != 0 && m != ns[len(ns)-1] && b.held(m) == nil {
			ns = append(ns, m)
		}
	}
	if len(ns) == 1 {
		r, err := journal.Read(b.fold.Journal, n)
		if err == nil {
			b.fold.recent.Add(r)
		}
		return r, err
	}
	as, err := b.fold.Journal.Read(ns, maxReadAheadBytes)
	if err != nil {
		return nil, err
	}
	recs := journal.DecodeAll(as, false)
	for _, r := range slices.Backward(recs) { // what is asked for first is to stay longest
		b.fold.recent.Add(r)
	}
	if len(recs) > 0 && recs[0].N == n {
		return recs[0], nil
	}
	return journal.Read(b.fold.Journal, n)
}

// held returns a record that need not be read; nil if it must be.
func (b *batch) held(n int64) *journal.Record {
	if r := b.records[n]; r != nil {
		return r
	}
	return b.fold.recent.Get(n)
}

// id returns the ID of the record that arrived as number n.
func (b *batch) id(n int64) (clock.RecordID, error) {
	if id, ok := b.ids[n]; ok {
		return id, nil
	}
	r, err := b.record(n)
	if err != nil {
		return clock.RecordID{}, err
	}
	b.ids[n] = r.ID
	return r.ID, nil
}
