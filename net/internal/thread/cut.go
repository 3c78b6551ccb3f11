package thread

import (
	"maps"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/format"
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
	floors    map[clock.LogID]clock.RecordID // the last covered record of each log
	snapshots map[clock.LogID]Snapshot
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

// floor returns the last record of a log that is cut off; its Seq is 0 if there is none.
func (c *cuts) floor(log clock.LogID) clock.RecordID { return c.floors[log] }

// cut returns what does not count of the data; mu is held.
func (t *Thread) cut() Cut {
	c := Cut{Void: map[clock.LogID]clock.Void{}, Snapshots: map[clock.LogID]Snapshot{}, Authority: t.authority(), Tag: t.StateTag}
	for log, id := range t.cuts.floors {
		c.Void[log] = clock.VoidUpTo(id.Seq)
	}
	maps.Copy(c.Snapshots, t.cuts.snapshots)
	limited := false
	for _, l := range t.ofData {
		if n := t.limitOf(l); !n.void.Empty() {
			c.Void[l.ID] = c.Void[l.ID].Union(n.void)
			limited = limited || len(l.branches) > 0
		}
	}
	for log, s := range c.Snapshots { // what it stands for may have counted when it was made
		s.Whole = s.Whole && !limited
		c.Snapshots[log] = s
	}
	return c
}

// refreshCuts finds the checkpoints that are in force now; mu is held.
func (t *Thread) refreshCuts() {
	if t.graph.Checkpoints() == 0 {
		return // most threads: the fold need not be asked
	}
	all := t.graph.State().Checkpoints
	if len(all) == 0 && t.cuts.inForce == 0 || t.cuts.inForce == len(all) && t.cuts.known == t.graph.Len() {
		return
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	// From nothing each time: a checkpoint may come into force before one that was
	// written earlier, whose snapshot it covers.
	next := cuts{floors: map[clock.LogID]clock.RecordID{}, snapshots: map[clock.LogID]Snapshot{}, known: t.graph.Len(), version: t.cuts.version + 1}
	in := make([]bool, len(all))
	for more := true; more; { // a later one may stand for the snapshot of an earlier one
		more = false
		for i := len(all) - 1; i >= 0; i-- {
			if in[i] || !t.complete(snap, all[i], &next) {
				continue
			}
			in[i], more = true, true
			next.inForce++
			next.add(all[i], t.graph)
		}
	}
	for i, c := range all {
		if !in[i] || next.floor(c.Snapshot.Log).Seq >= c.Snapshot.Seq {
			continue
		}
		if s, ok := next.snapshots[c.Snapshot.Log]; !ok || s.Last < c.Snapshot.Seq {
			next.snapshots[c.Snapshot.Log] = Snapshot{Last: c.Snapshot.Seq, State: c.State, Whole: t.wholeUpTo(c)}
		}
	}
	t.cuts = next
}

// add raises the floors to what a checkpoint covers. A control log has none: who may do
// what is never cut off.
func (c *cuts) add(p *format.Checkpoint, g *control.Graph) {
	for _, h := range p.Heads {
		if h.Seq > c.floors[h.Log].Seq && !g.Knows(h.Log) {
			c.floors[h.Log] = h
		}
	}
}

// complete reports whether all of a checkpoint's snapshot is held and judged, or
// is itself covered.
func (t *Thread) complete(r store.Reader, c *format.Checkpoint, in *cuts) bool {
	if in.floor(c.Snapshot.Log).Seq >= c.Snapshot.Seq {
		return true
	}
	l := t.logs[c.Snapshot.Log]
	if l == nil || len(l.branches) != 1 || l.branches[0].Done.Seq < c.Snapshot.Seq {
		return false
	}
	_, err := t.rows.Record(r, l.Num, c.Snapshot)
	return err == nil
}

// wholeUpTo reports whether every record that c covers is held, but for what was
// covered before.
func (t *Thread) wholeUpTo(c *format.Checkpoint) bool {
	for _, h := range c.Heads {
		before := t.cuts.floor(h.Log).Seq
		if h.Seq <= before {
			continue
		}
		l := t.logs[h.Log]
		if l == nil || len(l.branches) != 1 || l.start() > before || l.branches[0].Done.Seq < h.Seq {
			return false
		}
	}
	return true
}

// Floors returns the positions up to which logs are cut off.
func (t *Thread) Floors() map[clock.LogID]clock.RecordID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cuts.floors // replaced, never changed
}

// afterCut returns the branch that goes on after prev if a checkpoint covers prev
// and nothing here holds it: what is before it is not needed.
func (w *ingestTx) afterCut(l *threadLog, prev clock.RecordID) *branch {
	if !w.t.graph.State().Covers(prev) {
		return nil
	}
	if l == nil || len(l.branches) == 0 {
		return &branch{Branch: logstore.Branch{Base: prev, Tip: prev, Done: prev}}
	}
	b := l.branches[0]
	if l.forked() || b.Tip.Seq >= prev.Seq {
		return nil
	}
	b.Base, b.Tip, b.Done = prev, prev, prev
	w.dirty[b] = l
	return b
}

// ownCovered reports whether the own data log holds, or begins after, what
// checkpoints cover of it. Otherwise this device was restored from a copy, and what
// it wrote next would be taken for what is covered.
func (t *Thread) ownCovered() bool {
	if t.graph.Checkpoints() == 0 {
		return true
	}
	all := t.graph.State().Checkpoints
	if t.ownChecked.n == len(all) && t.ownChecked.log == t.ownData.ID {
		return true
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	for _, c := range all {
		for _, h := range c.Heads {
			if h.Log != t.ownData.ID || h.Seq <= t.ownData.start() {
				continue
			}
			if _, err := t.rows.Record(snap, t.ownData.Num, h); err != nil {
				return false
			}
		}
	}
	t.ownChecked.n, t.ownChecked.log = len(all), t.ownData.ID
	return true
}
