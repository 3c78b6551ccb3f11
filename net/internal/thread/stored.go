package thread

import (
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
)

// Has reports whether a record is held.
func (t *Thread) Has(id clock.RecordID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.logs[id.Log]
	if f := t.cuts.floors[id.Log]; id.Seq <= f.Lowest() || f.Has(id) {
		return true
	}
	if l == nil {
		return false
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	return t.held(snap, l, id)
}

// held is has, with the log at hand; mu is held.
func (t *Thread) held(r store.Reader, l *held.Log, id clock.RecordID) bool {
	if id.Seq <= l.Below(t.ahead) {
		return true
	}
	var top uint64
	for _, b := range l.Branches {
		if b.Tip == id {
			return true
		}
		top = max(top, b.Tip.Seq)
	}
	if id.Seq > top {
		return false
	}
	_, err := t.rows.Record(r, l.Num, id)
	return err == nil
}

// An Entry is a data record, opened.
type Entry = format.Entry

// Entry returns one data record, opened.
func (t *Thread) Entry(id clock.RecordID) (Entry, error) {
	t.mu.Lock()
	l, k := t.logs[id.Log], t.keys
	t.mu.Unlock()
	if l == nil || l.Desc.Kind != format.KindData {
		return Entry{}, fault.Of(ErrNotFound, "no record %s", id)
	}
	if !k.CanRead() {
		return Entry{}, ErrNoKeys
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	s, err := t.rows.Record(snap, l.Num, id)
	if err != nil {
		return Entry{}, err
	}
	return t.opener(&k).Entry(id, s.Record)
}

// Refused returns the records that are kept and have no effect, control records
// first, by hash.
func (t *Thread) Refused() []Refusal {
	t.mu.Lock()
	defer t.mu.Unlock()
	control := slices.Clone(t.graph.State().Refused)
	slices.SortFunc(control, func(a, b Refusal) int { return format.CompareHashes(a.ID.Hash, b.ID.Hash) })
	return append(control, t.refused...)
}

func (t *Thread) loadRefused(r store.Reader) error {
	all, err := t.rows.Refused(r)
	for _, f := range all {
		t.refused = append(t.refused, Refusal(f))
	}
	return err
}
