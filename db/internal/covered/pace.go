package covered

import (
	"context"
	"errors"
	"slices"

	"github.com/weftdb/weft/db/internal/cut"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// A Pace is a cut that changes no document: its snapshot is what the fold itself gave, or
// what it finds that the covered records give, and all that is folded besides comes after
// what is covered.
type Pace struct {
	Old    cut.Cut
	Log    clock.LogID   // of the snapshot
	Latest clock.Time    // no operation that is covered stands later
	Gone   *cut.Arrivals // that are covered
	Back   []int64       // the arrivals of the snapshot

	Compared bool // the snapshot was compared with what the records gave

	upTo int64 // every arrival up to there is covered; 0 if Gone says which are
	read int64 // the last arrival that Follow has seen
}

// A Made is what a fold remembers of the last snapshot that it wrote.
type Made struct {
	N      int64      // the last arrival that the snapshot stands for; it stands for all up to it
	Latest clock.Time // of their operations
	State  clock.Hash // of the snapshot's documents
}

// A Folded is all that is folded at one moment: up to an arrival, none of which was moved
// beyond a time.
type Folded struct {
	N     int64
	Moved clock.Time
	View  *view.View // the caller releases it
}

// NewPace returns c as a cut that can be taken in pieces, or nil if it changes a document, or
// if that is not known. It reads all of the snapshot. at settles the fold and says what it has;
// states finds what the covered operations left of documents, ok is false if it cannot.
func NewPace(ctx context.Context, j journal.Journal, c, old *cut.Cut, made *Made, at func(context.Context) (Folded, error), states func(ctx context.Context, docs []Doc, gone *cut.Arrivals) (ok bool, err error)) (*Pace, error) {
	fresh := c.Fresh(old)
	if len(fresh) != 1 || !c.Snapshots[fresh[0]].Whole {
		return nil, nil
	}
	p := &Pace{Old: *old, Log: fresh[0], Gone: &cut.Arrivals{}}
	if made == nil || c.Snapshots[p.Log].State != c.TagOf(made.State) {
		return p.find(ctx, j, c, at, states)
	}
	p.upTo, p.Latest = made.N, made.Latest
	if ok, err := p.Follow(j, c); !ok {
		return nil, err
	}
	for n := range p.upTo {
		p.Gone.Add(n + 1)
	}
	_, err := Snapshot(j, p.Back, c, p.Log, nil)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// find is NewPace of a snapshot that the fold did not make, or does not remember. It is
// compared with what the covered records gave, document by document: what has no later
// operation is as it stands, and what has is folded up to the cut.
func (p *Pace) find(ctx context.Context, j journal.Journal, c *cut.Cut, at func(context.Context) (Folded, error), states func(ctx context.Context, docs []Doc, gone *cut.Arrivals) (bool, error)) (*Pace, error) {
	now, err := at(ctx)
	if err != nil {
		return nil, err
	}
	defer now.View.Release()
	p.read = now.N
	s, ok, err := c.Survey(j.IDs, p.read, &p.Old, p.Log, MaxAfter)
	if !ok {
		return nil, err
	}
	var docs []Doc
	if docs, p.Latest, ok, err = Docs(j, s, now.Moved); !ok {
		return nil, err
	}
	p.Back, p.Gone = s.Back, s.Gone
	for some := range slices.Chunk(docs, 64) {
		if ok, err := states(ctx, some, s.Gone); err != nil || !ok {
			return nil, err
		}
	}
	check, left, err := Left(now.View, docs)
	if err != nil {
		return nil, err
	}
	n, err := Snapshot(j, p.Back, c, p.Log, check)
	if errors.Is(err, ErrSnapshot) || err == nil && n != left {
		return nil, nil // it is told when the cut is taken as a whole
	}
	p.Compared = err == nil
	return p, err
}

// Follow reads on in the journal, and reports whether the cut still changes no document. A nil
// one does.
func (p *Pace) Follow(j journal.Journal, c *cut.Cut) (ok bool, err error) {
	if p == nil {
		return false, nil
	}
	ok = true
	var after []int64
	err = j.IDs(p.read, func(n int64, id clock.RecordID, snapshot bool) bool {
		p.read = n
		switch void := c.Voids(id, snapshot); {
		case n <= p.upTo:
			ok = void
		case id.Log == p.Log && !void:
			p.Back = append(p.Back, n)
		case id.Log == p.Log:
		case void != p.Old.Voids(id, snapshot):
			ok = false
		case !void:
			after = append(after, n)
		}
		return ok
	})
	for _, n := range after {
		if err != nil || !ok {
			break
		}
		var rec *journal.Record
		if rec, err = journal.Read(j, n); err == nil {
			ok = rec.Time > p.Latest && rec.View == nil // definitions are judged by what is held
		}
	}
	return ok && err == nil, err
}

// Fresh checks the snapshots that come into force by c, which marks say: against the state
// hash that they come with and, if nothing is folded but what they stand for, against the
// documents, of which there are so many: then it returns the log. each calls its argument for every arrival that is
// folded.
func Fresh(j journal.Journal, c *cut.Cut, marks []cut.Mark, each func(func(n int64, id clock.RecordID, snapshot bool)) error, stored Check, all int64) (compared *clock.LogID, err error) {
	whole := true
	held := map[clock.LogID][]int64{}
	for _, m := range marks {
		if s, ok := c.Snapshots[m.Log]; ok && m.Snapshot != s.Last {
			held[m.Log] = nil
			whole = whole && s.Whole
		}
	}
	if len(held) == 0 {
		return nil, nil
	}
	err = each(func(n int64, id clock.RecordID, snapshot bool) {
		_, fresh := held[id.Log]
		switch {
		case c.Voids(id, snapshot):
		case fresh && snapshot:
			held[id.Log] = append(held[id.Log], n)
		default:
			whole = false
		}
	})
	if err != nil {
		return nil, err
	}
	var docs int64
	for id, ns := range held {
		if len(ns) == 0 {
			continue // another stands for all of it
		}
		var check Check
		if whole {
			check = stored
		}
		n, err := Snapshot(j, ns, c, id, check)
		if err != nil {
			return nil, err
		}
		docs += n
	}
	if !whole || len(held) != 1 {
		return nil, nil
	}
	if docs != all {
		return nil, fault.Of(ErrSnapshot, "the snapshot has %d documents, of %d", docs, all)
	}
	for id := range held {
		compared = &id
	}
	return compared, nil
}
