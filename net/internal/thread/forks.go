package thread

import (
	"errors"
	"math"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
)

// A Fork is two records that a device wrote at one position of its log, each
// proved by a head that the device signed.
type Fork struct {
	Log    clock.LogID
	Device keys.PublicKey
	Seq    uint64
	Heads  [2]SignedHead // on or after the position, one on each branch
}

// A SignedHead is a device's signature of a record and of all before it.
type SignedHead struct {
	ID        clock.RecordID
	Signature keys.Signature
}

// Forks returns the forks of all logs, each proved by two signed heads.
func (t *Thread) Forks() ([]Fork, error) {
	t.mu.Lock()
	type pair struct {
		log *threadLog
		at  [2]branch
	}
	var pairs []pair
	for _, l := range t.byNum {
		for _, b := range l.branches[min(1, len(l.branches)):] {
			pairs = append(pairs, pair{l, [2]branch{*l.branches[0], *b}})
		}
	}
	t.mu.Unlock()
	snap := t.env.store.Snapshot()
	defer snap.Release()
	var forks []Fork
	for _, p := range pairs {
		f := Fork{Log: p.log.ID, Device: p.log.Desc.Device, Seq: p.at[1].Base.Seq + 1}
		var errs [2]error
		for i, b := range p.at {
			f.Heads[i], errs[i] = t.signedHead(snap, p.log, b.Signed)
		}
		if err := errors.Join(errs[0], errs[1]); err != nil {
			return nil, err
		}
		if f.Heads[0].ID.Seq >= f.Seq && f.Heads[1].ID.Seq >= f.Seq {
			forks = append(forks, f)
		}
	}
	return forks, nil
}

// signedHead reads the signature of a position; none for one that has no record.
func (t *Thread) signedHead(r store.Reader, l *threadLog, id clock.RecordID) (SignedHead, error) {
	if id.Seq == 0 {
		return SignedHead{}, nil
	}
	s, err := t.rows.Record(r, l.Num, id)
	return SignedHead{ID: id, Signature: s.Signature}, err
}

// Common returns a position up to which the branch that ends in tip is the same as some of
// what ends in cs, as far as that is known without reading either: that of one of cs, if no
// other record is held there, and else the first at which the log forks. Of each position it
// asks once, as a device may fork its log a thousand times.
//
//	1 ─ 2 ─ 3 ─ 4 ─ 5 ─ 6      Common(6, 5) is 5
//	    └─ 3′─ 4′              Common(4′, 6) is 2, as is Common(6, 4)
func (t *Thread) Common(tip clock.RecordID, cs ...clock.RecordID) (common uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.logs[tip.Log]
	if l == nil || len(l.branches) == 0 {
		return 0
	}
	fork := uint64(math.MaxUint64)
	for _, b := range l.branches[1:] {
		fork = min(fork, b.Base.Seq)
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	shared := map[uint64]bool{} // positions with other records
	for _, c := range cs {
		most := min(c.Seq, tip.Seq)
		if c.Seq > tip.Seq || shared[c.Seq] {
			most = min(most, fork)
		}
		if c.Log != tip.Log || most <= common || c.Seq > t.cuts.floor(c.Log).Seq && !t.held(snap, l, c) {
			continue
		}
		if most > fork && !t.rows.OneAt(snap, l.Num, c.Seq) {
			shared[c.Seq] = true
			most = fork
		}
		common = max(common, most)
	}
	return common
}
