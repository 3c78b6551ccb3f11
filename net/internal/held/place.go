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

// Place finds what of a log counts above a floor, which may be none. ahead reports whether a
// record is a head of a checkpoint that is not in force yet: a branch that begins after one may
// have nothing before it. Of a log that its device forked it reads what lies above the lowest head, unless every
// branch ends in a head.
func (l *Log) Place(rows logstore.Table, r store.Reader, f floor.Floor, ahead func(clock.RecordID) bool) error {
	l.Floor, l.Kept, l.Beside = f, nil, nil
	if len(f) == 0 {
		return l.root(rows, r, ahead)
	}
	ends := true
	for _, b := range l.Branches {
		b.From, b.Void = b.Tip, false
		ends = ends && f.Has(b.Tip)
	}
	if ends {
		return nil
	}
	if !l.Forked() {
		return l.placeLine(rows, r, ahead)
	}
	out, err := f.Sift(l.Tips(), func(record func(clock.RecordID, clock.Hash) error) error {
		return rows.EachID(r, &l.Log, f.Lowest()+1, record)
	})
	if err != nil {
		return err
	}
	l.Kept, l.Beside = out.Kept, out.Beside
	for _, b := range l.Branches {
		from, counts := out.Heads[b.Tip.Hash]
		b.From, b.Void = from, !counts
	}
	return nil
}

// placeLine is Place of a log that is not forked, as far as it is held.
func (l *Log) placeLine(rows logstore.Table, r store.Reader, ahead func(clock.RecordID) bool) error {
	b := l.Branches[0]
	b.From, b.Void = clock.RecordID{}, true
	if b.Base.Seq >= l.Floor.Top() && ahead(b.Base) { // of a checkpoint that is not in force
		b.From, b.Void = b.Base, false
	}
	for _, h := range l.Floor {
		if !b.Void || h.Seq > b.Tip.Seq || h.Seq < b.Base.Seq {
			continue
		}
		if h == b.Base || h == b.Tip {
			b.From, b.Void = h, false
		} else if _, err := rows.Record(r, l.Num, h); err == nil {
			b.From, b.Void = h, false
		} else if !errors.Is(err, format.ErrNotFound) {
			return err
		}
	}
	if b.Void && b.Tip.Seq <= l.Floor.Top() || !b.Void && b.From.Seq >= l.Floor.Top() {
		return nil
	}
	from := b.From.Seq
	if b.Void {
		from = max(l.Floor.Top(), b.Base.Seq)
	}
	return rows.EachID(r, &l.Log, from+1, func(id clock.RecordID, _ clock.Hash) error {
		one := clock.Single{Seq: id.Seq, Hash: id.Hash}
		switch {
		case id.Seq > b.Tip.Seq:
		case b.Void:
			l.Beside = append(l.Beside, one)
		case id.Seq <= l.Floor.Top():
			l.Kept = append(l.Kept, one)
		}
		return nil
	})
}

// root finds what is held of a log that has no floor: all of it, or what begins after a head
// of a checkpoint that is not in force.
func (l *Log) root(rows logstore.Table, r store.Reader, ahead func(clock.RecordID) bool) error {
	if !l.Forked() {
		for _, b := range l.Branches {
			b.From, b.Void = b.Base, false
		}
		return nil
	}
	var roots floor.Floor
	for _, b := range l.Branches {
		if b.From, b.Void = (clock.RecordID{}), false; b.Base.Seq > 0 && ahead(b.Base) && !roots.Has(b.Base) {
			roots = append(roots, b.Base)
		}
	}
	if len(roots) == 0 {
		return nil
	}
	slices.SortFunc(roots, func(a, b clock.RecordID) int {
		return compare(clock.Single{Seq: a.Seq, Hash: a.Hash}, clock.Single{Seq: b.Seq, Hash: b.Hash})
	})
	out, err := roots.Sift(l.Tips(), func(record func(clock.RecordID, clock.Hash) error) error {
		return rows.EachID(r, &l.Log, roots.Lowest()+1, record)
	})
	for _, b := range l.Branches {
		b.From = out.Heads[b.Tip.Hash]
	}
	return err
}

// HeadOf returns the head of the floor that a record which is held descends from, or is.
func (l *Log) HeadOf(rows logstore.Table, r store.Reader, id clock.RecordID) (clock.RecordID, error) {
	if len(l.Floor) == 1 {
		return l.Floor[0], nil
	}
	for at := id; at.Seq >= max(1, l.Floor.Lowest()); {
		if l.Floor.Has(at) {
			return at, nil
		}
		h, err := rows.Header(r, l.Num, at)
		if err != nil {
			return clock.RecordID{}, err
		}
		at = clock.RecordID{Log: at.Log, Seq: at.Seq - 1, Hash: h.Prev}
	}
	return clock.RecordID{}, nil
}

// Whole reports whether every record that the heads of a checkpoint cover of the log is held
// and judged, and no other that they leave out, but for what was cut off before.
func (l *Log) Whole(rows logstore.Table, r store.Reader, heads []clock.RecordID, before floor.Floor) bool {
	for _, h := range heads {
		if before.Has(h) {
			continue
		}
		if _, err := rows.Record(r, l.Num, h); err != nil {
			return false
		}
		if !slices.ContainsFunc(l.Branches, func(b *Branch) bool { return b.From == h && b.Done.Seq >= h.Seq }) {
			return false
		}
	}
	for _, b := range l.Branches {
		if b.Void || l.Forked() && b.Done != b.Tip {
			return false
		}
		if b.Base.Seq == 0 || before.Has(b.Base) {
			continue
		}
		if b.Base.Seq > before.Top() && !l.Forked() {
			return false
		}
		if _, err := rows.Record(r, l.Num, b.Base); err != nil && l.Forked() {
			return false
		}
	}
	return true
}

// MaxHeads bounds the branches of a log that a checkpoint names. What others hold is in the
// snapshot all the same; what is written on one later does not count.
const MaxHeads = 16

// Heads returns the heads that a checkpoint which covers everything that is flushed names of
// the log, sorted; none if that is no more than the floor covers. No head is before another,
// and heads of the floor are ahead again where nothing came after them.
func (l *Log) Heads(rows logstore.Table, r store.Reader) ([]clock.RecordID, error) {
	var heads []clock.RecordID
	grown := map[clock.RecordID]bool{}
	for _, b := range l.Branches {
		if b.Counts(b.Flushed.Seq) {
			heads = append(heads, b.Flushed)
			grown[b.From] = true
		}
	}
	if len(heads) == 0 {
		return nil, nil
	}
	slices.SortFunc(heads, format.CompareIDs)
	heads = slices.Compact(heads)
	if len(l.Branches) > 1 {
		before, err := l.before(rows, r, heads)
		if err != nil {
			return nil, err
		}
		heads = slices.DeleteFunc(heads, func(h clock.RecordID) bool { return before[h] })
	}
	heads = heads[max(0, len(heads)-MaxHeads):]
	for _, h := range slices.Backward(l.Floor) {
		if !grown[h] && len(heads) < MaxHeads {
			heads = append(heads, h)
		}
	}
	slices.SortFunc(heads, format.CompareIDs)
	return heads, nil
}

// before returns which of some heads come before another, on its branch.
func (l *Log) before(rows logstore.Table, r store.Reader, heads []clock.RecordID) (map[clock.RecordID]bool, error) {
	found, is := map[clock.RecordID]bool{}, map[clock.Hash]clock.RecordID{}
	for _, h := range heads {
		is[h.Hash] = h
	}
	seq := heads[0].Seq
	var last, now map[clock.Hash]clock.RecordID // the head that comes last before what has a position
	err := rows.EachID(r, &l.Log, seq, func(id clock.RecordID, prev clock.Hash) error {
		if id.Seq != seq || now == nil {
			last, now, seq = now, map[clock.Hash]clock.RecordID{}, id.Seq
		}
		h, after := last[prev]
		if o, head := is[id.Hash]; head {
			if after {
				found[h] = true
			}
			now[id.Hash] = o
		} else if after {
			now[id.Hash] = h
		}
		return nil
	})
	return found, err
}
