package thread

import (
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
	"github.com/weftdb/weft/net/internal/verify"
)

// What counts of a data log follows from the rights of the control log that it belongs to,
// and from which records of it are held.
//
//	log a: 1 2 3 4 5 6 7 8        a removal has seen a/5
//	held 1…8     6 7 8 are void   and are sent to nobody
//	held 1 2 3   all of it is     until a/5 is here: whether these precede it is known then
//	a forks after 3, a/5 on the other branch    4…8 of this one are void
//
// A log that nothing limits costs a look at the graph.

// A limit is what does not count of a data log.
type limit struct {
	void clock.Void
	top  clock.RecordID // no record after it can count, however more arrives; control.Unlimited: none is so

	graph  int  // control records it was made of
	refind bool // it rests on which records are held
	tips   []clock.RecordID
	rights []control.Right
	single bool               // records count one by one
	by     map[clock.Hash]int // if single: the number of the right, from 1, by which each counts that defines
	ruling clock.Hash         // of which records count by which of several roles; zero for one
}

// unlimited is what limits a log of which everything counts. It is not changed.
var unlimited = &limit{top: control.Unlimited}

// all reports whether nothing of the log counts, and nothing can.
func (l *limit) all() bool { return l.top.Seq == 0 }

// limitOf returns what does not count of a log that is held; mu is held.
func (t *Thread) limitOf(l *held.Log) *limit {
	if l.Desc.Kind == format.KindControl {
		return unlimited
	}
	if t.graph.Plain(l.ID) { // most are
		delete(t.limits, l.ID)
		return unlimited
	}
	was := t.limits[l.ID]
	if was != nil && was.graph == t.graph.Len() && (!was.refind || slices.Equal(was.tips, l.Tips())) {
		return was
	}
	now := t.findLimit(l.ID, l)
	now.graph = t.graph.Len()
	t.limits[l.ID] = now
	return now
}

// findLimit is limitOf of a log that is not plain, and may not be held, in which case l is nil.
func (t *Thread) findLimit(log clock.LogID, l *held.Log) *limit {
	rights := t.graph.Rights(log)
	if l != nil && l.Desc.Kind == format.KindSnapshot && len(rights) > 0 {
		n := &limit{} // checkpoints say what of it counts
		if n.top = control.Top(rights); n.top != control.Unlimited {
			for _, c := range t.graph.State().Checkpoints {
				if c.Snapshot.Log == log && c.Snapshot.Seq > n.top.Seq {
					n.top = c.Snapshot
				}
			}
		}
		return n
	}
	if len(rights) == 0 {
		return &limit{void: clock.VoidAll()}
	}
	n := &limit{top: control.Top(rights)}
	if l == nil || len(l.Branches) == 0 {
		return n
	}
	n.refind, n.tips, n.rights, n.single = true, l.Tips(), rights, l.Forked() || t.graph.Split(log)
	if was := t.limits[log]; was != nil && was.same(n) {
		n.void, n.by, n.ruling = was.void, was.by, was.ruling // most control records say nothing of it
		return n
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	f := &held.Seen{Log: l, Rows: t.rows, Reader: snap}
	if n.single {
		n.void, n.by = control.Uncovered(rights, f.Paths())
	} else {
		n.void = control.UncoveredSpans(rights, f.UpTo)
	}
	if len(rights) > 1 || rights[0].Stopped() {
		n.ruling = control.Ruling(rights, n.by, f.Defining(rights))
	}
	if f.Err != nil {
		if n.single {
			n.void = clock.VoidAll()
		}
		t.env.log.Error("reading what a removal has seen", "thread", t.id.String(), "log", log.Short(), "err", f.Err)
	}
	return n
}

// same reports whether both were made of the same rights and records.
func (l *limit) same(o *limit) bool {
	return l.refind && l.single == o.single && slices.Equal(l.tips, o.tips) &&
		slices.EqualFunc(l.rights, o.rights, func(a, b control.Right) bool { return a.Equal(&b) })
}

// End returns the last record of a data log that can count, whatever else arrives, of position
// 0 if none can; ok is false if nothing limits it, or it is not known. A peer that has more
// has not heard why it ends.
func (t *Thread) End(log clock.LogID) (end clock.RecordID, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.graph.ControlOf(log); !known {
		return end, false
	}
	n := t.limitOfID(log)
	return n.top, n.top != control.Unlimited
}

// limitOfID is limitOf of a data log that may not be held.
func (t *Thread) limitOfID(log clock.LogID) *limit {
	if l := t.logs[log]; l != nil {
		return t.limitOf(l)
	}
	if t.graph.Plain(log) {
		return unlimited
	}
	return t.findLimit(log, nil)
}

// within refuses of a run what cannot count, whatever else arrives: of a device that was
// removed nobody takes more than who removed it had seen.
func (t *Thread) within(v *verify.Run) *Rejection {
	n := t.limitOfID(v.Log)
	i := slices.IndexFunc(v.Records, func(r verify.Record) bool { return r.ID.Seq > n.top.Seq })
	if i < 0 {
		return nil
	}
	why := "its writer was removed, or may not write, and this was not seen before"
	if n.all() {
		why = "the device's join did not hold, or its role does not write"
	}
	// Nothing of the run: its signature covers what is cut off, and without one what is
	// before that could be given to nobody. Who has heard of the removal sends it signed.
	return verify.Refuse(fault.Void, v.Records[i].ID, why, ErrNotMember)
}
