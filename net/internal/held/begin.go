package held

import (
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/logstore"
)

// Begin returns the branches as they are once the log begins after its floor: those that
// change, and those that are taken off, as nothing of them is left. The records that these
// hold are counted with another, for who deletes them.
func (l *Log) Begin(rows logstore.Table, r store.Reader) (changed, off []logstore.Branch, err error) {
	top := l.Floor.Top()
	var records, bytes int64
	for _, b := range l.Branches {
		if b.Void && b.Tip.Seq <= top {
			off = append(off, b.Branch)
			records, bytes = records+b.Records, bytes+b.Bytes
			continue
		}
		base := b.From
		if b.Void { // beside the floor
			if base, err = l.at(rows, r, b, top); err != nil {
				return nil, nil, err
			}
		}
		if b.Base.Seq >= base.Seq {
			continue
		}
		next := b.Branch
		next.Base = base
		for _, at := range []*clock.RecordID{&next.Tip, &next.Signed, &next.Done} {
			if at.Seq < base.Seq {
				*at = base
			}
		}
		changed = append(changed, next)
	}
	if records > 0 && len(l.Branches) > len(off) {
		changed = l.count(changed, off, records, bytes)
	}
	return changed, off, nil
}

// count adds what branches that are taken off hold to the first that stays.
func (l *Log) count(changed, off []logstore.Branch, records, bytes int64) []logstore.Branch {
	gone := map[uint32]bool{}
	for _, b := range off {
		gone[b.Num] = true
	}
	for _, b := range l.Branches {
		if gone[b.Num] {
			continue
		}
		for i := range changed {
			if changed[i].Num == b.Num {
				changed[i].Records += records
				changed[i].Bytes += bytes
				return changed
			}
		}
		next := b.Branch
		next.Records += records
		next.Bytes += bytes
		return append(changed, next)
	}
	return changed
}

// at returns the record of a branch at a position, or its base if that is higher.
func (l *Log) at(rows logstore.Table, r store.Reader, b *Branch, seq uint64) (clock.RecordID, error) {
	at := b.Tip
	for at.Seq > max(seq, b.Base.Seq) {
		h, err := rows.Header(r, l.Num, at)
		if err != nil {
			return clock.RecordID{}, err
		}
		at = clock.RecordID{Log: at.Log, Seq: at.Seq - 1, Hash: h.Prev}
	}
	return at, nil
}
