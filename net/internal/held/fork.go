package held

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/logstore"
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

// Forks returns the forks of a log, each proved by two signed heads that are held; what a
// checkpoint cut off proves nothing any more.
func (l *Log) Forks(rows logstore.Table, r store.Reader) (forks []Fork, err error) {
	for _, b := range l.Branches[min(1, len(l.Branches)):] {
		f := Fork{Log: l.ID, Device: l.Desc.Device, Seq: b.Base.Seq + 1}
		proved := true
		for i, of := range []*Branch{l.Branches[0], b} {
			s, err := rows.Record(r, l.Num, of.Signed)
			if errors.Is(err, format.ErrNotFound) {
				proved = false
			} else if err != nil {
				return nil, err
			}
			f.Heads[i] = SignedHead{ID: of.Signed, Signature: s.Signature}
			proved = proved && of.Signed.Seq >= f.Seq
		}
		if proved && !slices.ContainsFunc(l.Floor, func(h clock.RecordID) bool { return h == b.Base }) {
			forks = append(forks, f)
		}
	}
	return forks, nil
}

// BranchOf returns the branch that a record is on: of several that have its position, the
// one that ends soonest after it is looked at first.
func (l *Log) BranchOf(rows logstore.Table, r store.Reader, id clock.RecordID) (*Branch, error) {
	if len(l.Branches) == 1 {
		return l.Branches[0], nil
	}
	near := slices.DeleteFunc(slices.Clone(l.Branches), func(b *Branch) bool { return id.Seq <= b.Base.Seq || id.Seq > b.Tip.Seq })
	slices.SortStableFunc(near, func(a, b *Branch) int { return cmp.Compare(a.Tip.Seq, b.Tip.Seq) })
	for _, b := range near {
		found := false
		err := rows.WalkPath(r, l.Num, b.Tip, id.Seq-1, func(at clock.RecordID, _ format.Stored) (bool, error) {
			found = at == id
			return false, nil
		})
		if err != nil {
			return nil, err
		}
		if found {
			return b, nil
		}
	}
	return nil, fault.Of(format.ErrNotFound, "record %s is on no branch", id)
}

// LineOf returns the branch that a tip which was given out is of.
func (l *Log) LineOf(rows logstore.Table, r store.Reader, tip clock.RecordID) (*Branch, error) {
	for _, b := range l.Branches {
		if b.Sent == tip || b.Tip == tip || b.Flushed == tip {
			return b, nil
		}
	}
	return l.BranchOf(rows, r, tip)
}

// SignedUpTo returns the last signed position of a branch up to id, which is held on it or
// else there is none.
func (l *Log) SignedUpTo(rows logstore.Table, s store.Store, b *Branch, id clock.RecordID) clock.RecordID {
	if !b.Counts(id.Seq) {
		return clock.RecordID{}
	}
	snap := s.Snapshot()
	defer snap.Release()
	if on, err := l.BranchOf(rows, snap, id); err != nil || on != b {
		return clock.RecordID{}
	}
	if _, err := rows.Record(snap, l.Num, id); err != nil {
		return clock.RecordID{}
	}
	at, err := rows.SignedBefore(snap, l.Num, &b.Branch, id)
	if err != nil || !b.Counts(at.Seq) {
		return clock.RecordID{}
	}
	return at
}

// Common returns a position up to which the branch that ends in tip is the same as some of
// what ends in cs, as far as that is known without reading either: that of one of cs, if no
// other record is held there, and else the first at which the log forks. Of each position it
// asks once, as a device may fork its log a thousand times.
//
//	1 ─ 2 ─ 3 ─ 4 ─ 5 ─ 6      Common(6, 5) is 5
//	    └─ 3′─ 4′              Common(4′, 6) is 2, as is Common(6, 4)
func (l *Log) Common(rows logstore.Table, r store.Reader, tip clock.RecordID, cs []clock.RecordID, has func(clock.RecordID) bool) (common uint64) {
	fork := uint64(math.MaxUint64)
	for i, b := range l.Branches {
		if i > 0 {
			fork = min(fork, b.Base.Seq)
		}
		if len(l.Floor) > 1 { // it forks below
			fork = min(fork, l.Floor.Lowest())
		}
	}
	shared := map[uint64]bool{} // positions with other records
	for _, c := range cs {
		most := min(c.Seq, tip.Seq)
		if c.Seq > tip.Seq || shared[c.Seq] {
			most = min(most, fork)
		}
		if c.Log != tip.Log || most <= common || !has(c) {
			continue
		}
		if most > fork && !rows.OneAt(r, l.Num, c.Seq) {
			shared[c.Seq] = true
			most = fork
		}
		common = max(common, most)
	}
	return common
}
