package held

import (
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/logstore"
)

// Begin returns the branches as they are once the log begins after its floor: those that
// change, and those that are taken off, as nothing of them is left.
func (l *Log) Begin(rows logstore.Table, r store.Reader) (changed, off []logstore.Branch, err error) {
	top := l.Floor.Top()
	for _, b := range l.Branches {
		if b.Void && b.Tip.Seq <= top {
			off = append(off, b.Branch)
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
		next.Base, next.Records, next.Bytes = base, 0, 0
		for _, at := range []*clock.RecordID{&next.Tip, &next.Signed, &next.Done} {
			if at.Seq < base.Seq {
				*at = base
			}
		}
		err = rows.Walk(r, &l.Log, l.Forked(), next.Tip, base.Seq, func(_ clock.RecordID, s format.Stored) (bool, error) {
			next.Records++
			next.Bytes += int64(s.Size())
			return true, nil
		})
		if err != nil {
			return nil, nil, err
		}
		changed = append(changed, next)
	}
	return changed, off, nil
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
