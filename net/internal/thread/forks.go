package thread

import (
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/held"
)

// A Fork is two records that a device wrote at one position of its log.
type Fork = held.Fork

// A SignedHead is a device's signature of a record and of all before it.
type SignedHead = held.SignedHead

// Forks returns the forks of all logs, each proved by two signed heads.
func (t *Thread) Forks() (forks []Fork, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	snap := t.env.store.Snapshot()
	defer snap.Release()
	for _, l := range t.byNum {
		of, err := l.Forks(t.rows, snap)
		if err != nil {
			return nil, err
		}
		forks = append(forks, of...)
	}
	return forks, nil
}

// Common returns a position up to which the branch that ends in tip is the same as some of
// what ends in cs, as far as that is known without reading either.
func (t *Thread) Common(tip clock.RecordID, cs ...clock.RecordID) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.logs[tip.Log]
	if l == nil || len(l.Branches) == 0 {
		return 0
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	return l.Common(t.rows, snap, tip, cs, func(c clock.RecordID) bool {
		return c.Seq <= l.Floor.Lowest() || l.Floor.Has(c) || t.held(snap, l, c)
	})
}

// CutOff returns which tips are not above the floors; one that is held here, between two heads
// of a log that its device forked, may be.
func (t *Thread) CutOff() func(tip clock.RecordID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	floors, kept := t.cuts.floors, map[clock.RecordID]bool{}
	for log := range floors {
		if l := t.logs[log]; l != nil {
			for _, r := range l.Kept {
				kept[clock.RecordID{Log: log, Seq: r.Seq, Hash: r.Hash}] = true
			}
		}
	}
	return func(tip clock.RecordID) bool { return floors.Cuts(tip) && !kept[tip] }
}
