package thread

import (
	"maps"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/floor"
	"github.com/weftdb/weft/net/internal/held"
	"github.com/weftdb/weft/net/internal/logstore"
)

// What does not count of the data, and what stands in its place.
type (
	// A Cut says which data records count as never written.
	Cut = control.Cut
	// A Snapshot is what stands for the records that a checkpoint covers.
	Snapshot = control.Snapshot
)

// cuts is what the checkpoints in force say. One is in force once its snapshot is
// held as a whole; then nothing of what it covers is sent, named or taken any more.
//
// Invariant: at any moment either the records that a checkpoint covers count or its
// snapshot does, never both and never neither; a floor never goes back.
//
//	log a: 1 2 3 4 5      checkpoint of a up to 3, snapshot log s up to 2
//	s/1 is held           not in force: a/1…5 count, s is void
//	s/1 s/2 are held      in force: s/1 s/2 a/4 a/5 count, the floor of a is 3
//	a later checkpoint of a up to 5 and s up to 2, snapshot t: t counts, floors a 5, s 2
type cuts struct {
	floors    floor.Set
	snapshots map[clock.LogID]Snapshot
	of        []*control.Checkpoint   // that have effect
	in        map[clock.RecordID]bool // of them those in force
	inForce   int
	known     int // control records that were looked at
	version   int // rises with each change
}

// A cutVersion is what a [Cut] follows from: thousands of logs may be void, and each write
// asks for changes.
type cutVersion struct {
	records, cuts int
	limited       int  // records of logs of which it counts what is held
	told          bool // false: nothing was told yet
}

// cut returns what does not count of the data; mu is held.
func (t *Thread) cut() Cut {
	c := Cut{Void: map[clock.LogID]clock.Void{}, Snapshots: map[clock.LogID]Snapshot{}, Authority: t.authority(), Tag: t.StateTag}
	for log, f := range t.cuts.floors {
		if l := t.logs[log]; l != nil {
			c.Void[log] = l.Cut()
		} else {
			c.Void[log] = clock.VoidUpTo(f.Top())
		}
	}
	maps.Copy(c.Snapshots, t.cuts.snapshots)
	limited := false
	for _, l := range t.ofData {
		if n := t.limitOf(l); !n.void.Empty() {
			c.Void[l.ID] = c.Void[l.ID].Union(n.void)
			limited = limited || len(l.Branches) > 0
		}
	}
	for log, s := range c.Snapshots { // what it stands for may have counted when it was made
		s.Whole = s.Whole && !limited
		c.Snapshots[log] = s
	}
	return c
}

// Covers reports whether a checkpoint in force covers a data record: its snapshot has what it did.
func (t *Thread) Covers(id clock.RecordID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.logs[id.Log]
	return l != nil && l.Cut().Below(id)
}

// refreshCuts finds the checkpoints that are in force now; mu is held.
func (t *Thread) refreshCuts() {
	if t.graph.Checkpoints() == 0 {
		return // most threads: the fold need not be asked
	}
	if t.cuts.known == t.graph.Len() && t.cuts.inForce == len(t.cuts.of) {
		return
	}
	all := t.graph.State().Checkpoints
	same := slices.EqualFunc(all, t.cuts.of, func(a, b *control.Checkpoint) bool { return a.ID == b.ID })
	if t.cuts.known = t.graph.Len(); same && t.cuts.inForce == len(all) {
		return
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	// From nothing each time: a checkpoint may come into force before one that was
	// written earlier, whose snapshot it covers.
	next := cuts{snapshots: map[clock.LogID]Snapshot{}, of: all, in: map[clock.RecordID]bool{}, known: t.graph.Len(), version: t.cuts.version + 1}
	in := t.inForce(snap, all)
	next.inForce = len(in)
	for _, c := range in {
		next.in[c.ID] = true
	}
	next.floors = t.floorsOf(in)
	if same && next.inForce == t.cuts.inForce {
		return
	}
	was := t.cuts
	t.cuts = next
	t.noteSince(in)
	var changed []*held.Log
	for _, l := range t.ofData {
		if f := next.floors[l.ID]; !slices.Equal(f, l.Floor) || len(l.Branches) > 0 && len(f) == 0 && !same {
			changed = append(changed, l)
		}
	}
	if err := t.placeLogs(snap, next.floors, changed); err != nil {
		t.env.log.Error("reading what a checkpoint leaves", "thread", t.id.String(), "err", err)
	}
	for _, c := range in {
		if next.floors[c.Snapshot.Log].Top() >= c.Snapshot.Seq {
			continue
		}
		if s, ok := next.snapshots[c.Snapshot.Log]; !ok || s.Last < c.Snapshot.Seq {
			next.snapshots[c.Snapshot.Log] = Snapshot{Last: c.Snapshot.Seq, State: c.State, Whole: t.wholeUpTo(snap, c, was.floors)}
		}
	}
}

// inForce returns which of all checkpoints are: the snapshot is held, or covered by another.
func (t *Thread) inForce(r store.Reader, all []*control.Checkpoint) (in []*control.Checkpoint) {
	covered := map[clock.LogID]uint64{}
	left := slices.Clone(all)
	for more := true; more; { // a later one may stand for the snapshot of an earlier one
		more = false
		left = slices.DeleteFunc(left, func(c *control.Checkpoint) bool {
			if covered[c.Snapshot.Log] < c.Snapshot.Seq && !t.complete(r, c) {
				return false
			}
			in, more = append(in, c), true
			for _, h := range c.Heads {
				covered[h.Log] = max(covered[h.Log], h.Seq)
			}
			return true
		})
	}
	return in
}

// floorsOf returns the floors of checkpoints in force. A control log has none: who may do what
// is never cut off.
func (t *Thread) floorsOf(in []*control.Checkpoint) floor.Set {
	of := make([]floor.Cut, len(in))
	for i, c := range in {
		of[i] = floor.Cut{By: c.ID, Heads: slices.DeleteFunc(slices.Clone(c.Heads), func(h clock.RecordID) bool { return t.graph.Knows(h.Log) })}
	}
	return floor.Of(of, func(i, j int) bool { return t.graph.State().Follows(in[i], in[j]) })
}

// complete reports whether all of a checkpoint's snapshot is held and judged.
func (t *Thread) complete(r store.Reader, c *control.Checkpoint) bool {
	l := t.logs[c.Snapshot.Log]
	if l == nil || len(l.Branches) != 1 || l.Branches[0].Done.Seq < c.Snapshot.Seq {
		return false
	}
	_, err := t.rows.Record(r, l.Num, c.Snapshot)
	return err == nil
}

// wholeUpTo reports whether every record that c covers is held, but for what was
// covered before, and no other that it leaves out.
func (t *Thread) wholeUpTo(r store.Reader, c *control.Checkpoint, before floor.Set) bool {
	of := map[clock.LogID][]clock.RecordID{}
	for _, h := range c.Heads {
		of[h.Log] = append(of[h.Log], h)
	}
	for log, heads := range of {
		if l := t.logs[log]; l == nil || !l.Whole(t.rows, r, heads, before[log]) {
			return false
		}
	}
	return true
}

// afterCut returns the branch that goes on after prev if a checkpoint covers prev
// and nothing here holds it: what is before it is not needed. A branch that ends below takes
// its place if it is the only one, and leads to no other head.
func (w *ingestTx) afterCut(l *held.Log, prev clock.RecordID) *held.Branch {
	heads := []clock.RecordID(w.t.cuts.floors[prev.Log])
	if !slices.Contains(heads, prev) {
		c := w.t.ahead(prev)
		if c == nil {
			return nil
		}
		heads = c.Heads
	}
	fresh := &held.Branch{Branch: logstore.Branch{Base: prev, Tip: prev, Done: prev}, From: prev}
	if l == nil || len(l.Branches) == 0 {
		return fresh
	}
	if slices.ContainsFunc(l.Branches, func(b *held.Branch) bool { return b.Tip == prev }) || w.t.holds(w.tx, l, prev) {
		return nil
	}
	b := l.Branches[0]
	if l.Forked() || b.Tip.Seq >= prev.Seq || slices.ContainsFunc(heads, func(h clock.RecordID) bool {
		return h.Log == l.ID && (h == b.Base || w.t.holds(w.tx, l, h))
	}) {
		return fresh
	}
	b.Base, b.Tip, b.Done, b.From, b.Void = prev, prev, prev, prev, false
	w.dirty[b] = l
	return b
}

// ahead returns a checkpoint that has effect and is not in force yet, of which id is a head;
// nil if there is none. What follows the head may come before the snapshot.
func (t *Thread) ahead(id clock.RecordID) *control.Checkpoint {
	for _, c := range t.graph.State().Checkpoints {
		if !t.cuts.in[c.ID] && slices.Contains(c.Heads, id) {
			return c
		}
	}
	return nil
}

// holds reports whether the store has a record.
func (t *Thread) holds(r store.Reader, l *held.Log, id clock.RecordID) bool {
	_, err := t.rows.Record(r, l.Num, id)
	return err == nil
}

// ownCovered reports whether the own data log holds, or begins after, what
// checkpoints cover of it. Otherwise this device was restored from a copy, and what
// it wrote next would be taken for what is covered.
func (t *Thread) ownCovered() bool {
	if t.graph.Checkpoints() == 0 {
		return true
	}
	if slices.ContainsFunc(t.ownData.Branches, func(b *held.Branch) bool { return b.Void }) {
		return false
	}
	all := t.graph.State().Checkpoints
	if t.ownChecked.n == len(all) && t.ownChecked.log == t.ownData.ID {
		return true
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	for _, c := range all {
		for _, h := range c.Heads {
			if h.Log != t.ownData.ID || h.Seq <= t.ownData.Start() {
				continue
			}
			if !t.holds(snap, t.ownData, h) {
				return false
			}
		}
	}
	t.ownChecked.n, t.ownChecked.log = len(all), t.ownData.ID
	return true
}
