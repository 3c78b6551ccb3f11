package held

import (
	"errors"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/floor"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/logstore"
)

// A Pruned is what goes of a log: what is at or below the top of a floor, and not kept.
type Pruned struct {
	Top  uint64
	kept map[clock.Single]bool
}

// Has reports whether a record goes.
func (p *Pruned) Has(seq uint64, hash clock.Hash) bool {
	return p != nil && seq <= p.Top && !p.kept[clock.Single{Seq: seq, Hash: hash}]
}

// Begin returns the branches as they are once the log begins after a floor, which its own may
// be above: those that change, and those that are taken off, as nothing of them is left; and
// what goes of the log then.
func (l *Log) Begin(rows logstore.Table, r store.Reader, f floor.Floor, ahead func(clock.RecordID) bool) (changed, off []logstore.Branch, p *Pruned, err error) {
	view := &Log{Log: l.Log}
	for _, b := range l.Branches {
		own := *b
		view.Branches = append(view.Branches, &own)
	}
	if err := view.Place(rows, r, f, ahead); err != nil {
		return nil, nil, nil, err
	}
	p = &Pruned{Top: f.Top(), kept: map[clock.Single]bool{}}
	for _, one := range slices.Concat(view.Kept, l.Kept) {
		p.kept[one] = true
	}
	changed, off, err = view.begin(rows, r, l)
	return changed, off, p, err
}

// begin is Begin of a copy that was placed on the floor; is is the log as it is.
func (l *Log) begin(rows logstore.Table, r store.Reader, is *Log) (changed, off []logstore.Branch, err error) {
	top := l.Floor.Top()
	for i, b := range l.Branches {
		if b.Void && b.Tip.Seq <= top {
			if !is.Branches[i].Void {
				continue
			}
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

// Write keeps branches that change and deletes those that are taken off, of which there may be
// more than one transaction takes.
func (l *Log) Write(s store.Store, rows logstore.Table, changed, off []logstore.Branch) error {
	tx := s.Begin()
	defer func() { tx.Discard() }()
	for i, b := range slices.Concat(changed, off) {
		put := rows.PutBranch
		if i >= len(changed) {
			put = rows.DeleteBranch
		}
		err := put(tx, l.Num, &b)
		if errors.Is(err, store.ErrTooBig) {
			if err = tx.Commit(); err == nil {
				tx = s.Begin()
				err = put(tx, l.Num, &b)
			}
		}
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}
