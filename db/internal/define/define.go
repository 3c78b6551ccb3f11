// Package define says which definitions of a collection hold, and which of them judges an
// operation: by what their authors had seen and by seniority, never by a clock
// (docs/design/authority.md).
//
//	Links, in stamp order ─► Fold ─► Chain     who counts, who holds, what each leaves
//	Chain.At(x)                                the last that holds and has not seen x
//
// A link is one operation on the definition of a collection whose record says what its
// author had. It counts if its author may define, by the definition that its view gives, and
// all that it names is held. Of two that count and have not seen each other the senior's
// holds. Those that hold are a chain: each has seen the ones before it, and is later by
// stamp, as what is seen is earlier.
package define

import (
	"bytes"
	"errors"
	"slices"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

var (
	// ErrStale reports a definition that another holds against.
	ErrStale = fault.New(fault.Stale, "somebody senior to its author defined the collection at the same time: look at what it is now, and define it anew")
	// ErrUnseen reports a definition that names records which are not held.
	ErrUnseen = fault.New(fault.Unseen, "it names records that have not arrived: it counts once they have")
)

// A Link is a definition.
type Link struct {
	Rec   *journal.Record // of one operation
	Role  string          // by which it counts
	Rank  []byte          // its author's seniority: the lesser is the senior
	Whole bool            // all that it names is held, or never will count

	Code keyspace.Code  // whether it holds, or why not
	Err  error          // why, if not
	Next keyspace.State // if it holds: the definition after it

	counts judge.Verdict // whether it counts, or why not
	beaten []int         // the places in the chain of those that beat it
}

// same reports whether two links are of one record, which is judged by the same.
func (l *Link) same(o *Link) bool {
	return l.Rec.ID == o.Rec.ID && l.Role == o.Role && l.Whole == o.Whole && bytes.Equal(l.Rank, o.Rank)
}

// A Chain is the links of one collection.
type Chain struct {
	Links []*Link // in stamp order
	Base  []byte  // the definition before all, of a snapshot; nil for none

	of       map[clock.RecordID]*Link
	counting []int          // the places of those that count, while they are found
	tip      keyspace.State // what the first so many of these leave
	tips     int
	saw      func(d *journal.Record, x clock.RecordID) (bool, error)
	judge    judge.Judge
	memo     map[step]judge.Verdict
	err      error
}

// A step is a link on what was before it.
type step struct {
	hash clock.Hash
	prev string
}

// maxMemo bounds the steps that a chain remembers.
const maxMemo = 1000

// Fold finds what of links holds. saw reports whether a record has seen another, which is
// none of its own operations. was, which may be nil, is the chain before, of the same saw:
// what it found out is used again, so that a link that comes last costs a look at each.
func Fold(links []*Link, base []byte, saw func(d *journal.Record, x clock.RecordID) (bool, error), was *Chain) (*Chain, error) {
	c := &Chain{Links: links, Base: base, of: make(map[clock.RecordID]*Link, len(links)), tip: keyspace.State{Doc: base}, saw: saw, memo: map[step]judge.Verdict{}}
	if was != nil && len(was.memo) < maxMemo {
		c.memo = was.memo
	}
	slices.SortFunc(links, func(a, b *Link) int { return journal.Stamp(a.Rec, 0).Compare(journal.Stamp(b.Rec, 0)) })
	n := 0 // so many links, from the first on, are those of before
	if was != nil && len(was.Links) <= len(links) && bytes.Equal(base, was.Base) &&
		slices.EqualFunc(was.Links, links[:len(was.Links)], func(x, y *Link) bool { return x.same(y) }) {
		n = len(was.Links)
	}
	if n > 0 {
		c.tip, c.tips = was.tip, was.tips
	}
	for i, l := range links {
		c.of[l.Rec.ID] = l
		if i < n {
			l.counts, l.beaten = was.Links[i].counts, slices.Clone(was.Links[i].beaten)
		} else if l.counts = c.count(l); l.counts.Code == keyspace.CodeOK {
			c.compete(i)
		}
		if l.counts.Code == keyspace.CodeOK {
			c.counting = append(c.counting, i)
		}
	}
	state, same := keyspace.State{Doc: base}, true // same: as it was, up to here
	for i, l := range links {
		same = same && i < n && (len(l.beaten) > 0) == (len(was.Links[i].beaten) > 0)
		switch {
		case same:
			l.Code, l.Err, l.Next = was.Links[i].Code, was.Links[i].Err, was.Links[i].Next
		case len(l.beaten) > 0:
			l.Code, l.Err = keyspace.CodeStale, ErrStale
		case l.counts.Code != keyspace.CodeOK:
			l.Code, l.Err = l.counts.Code, l.counts.Err
		default:
			v := c.step(l, state)
			l.Code, l.Err, l.Next = v.Code, v.Err, v.Next
		}
		if l.Code == keyspace.CodeOK {
			state = l.Next
		}
	}
	return c, c.err
}

// count says whether a link counts, by those of the ones before it that count and that it
// has seen.
func (c *Chain) count(l *Link) judge.Verdict {
	if l.Role != judge.RoleOwner {
		by := l.Rec.Author()
		by.Right = l.Role
		v := c.judge.Decide(&l.Rec.Ops[0], c.seenBy(l), by, nil)
		if errors.Is(v.Err, keyspace.ErrRole) || errors.Is(v.Err, keyspace.ErrRule) {
			return judge.Verdict{Code: v.Code, Err: v.Err}
		}
	}
	if !l.Whole {
		return judge.Verdict{Code: keyspace.CodeUnseen, Err: ErrUnseen}
	}
	return judge.Verdict{}
}

// seenBy returns the definition that the view of a link gives.
func (c *Chain) seenBy(l *Link) keyspace.State {
	seen, all := make([]bool, len(c.Links)), true
	for _, i := range c.counting {
		seen[i] = c.has(l, c.Links[i])
		all = all && seen[i]
	}
	if all && c.tips == len(c.counting) {
		return c.tip
	}
	state := keyspace.State{Doc: c.Base}
	for _, i := range c.counting {
		o := c.Links[i]
		if !seen[i] || slices.ContainsFunc(o.beaten, func(k int) bool { return seen[k] }) {
			continue
		}
		if v := c.step(o, state); v.Code == keyspace.CodeOK {
			state = v.Next
		}
	}
	if all {
		c.tip, c.tips = state, len(c.counting)
	}
	return state
}

// compete says of the link at a place, which counts, whom of those before it beats that has
// not seen it, nor was seen by it, and who beats it.
func (c *Chain) compete(at int) {
	l, grows := c.Links[at], c.tips == len(c.counting)
	for _, i := range c.counting {
		switch o := c.Links[i]; {
		case c.has(l, o) || c.has(o, l):
		case o.beats(l):
			l.beaten = append(l.beaten, i)
		default:
			o.beaten = append(o.beaten, at)
			grows = false
		}
	}
	if !grows {
		return
	}
	c.tips++
	if len(l.beaten) == 0 {
		if v := c.step(l, c.tip); v.Code == keyspace.CodeOK {
			c.tip = v.Next
		}
	}
}

// step applies a link on a state, whoever wrote it.
func (c *Chain) step(l *Link, state keyspace.State) judge.Verdict {
	k := step{l.Rec.ID.Hash, string(state.Doc)}
	if v, ok := c.memo[k]; ok {
		return v
	}
	by := l.Rec.Author()
	by.Right = judge.RoleOwner
	v := c.judge.Decide(&l.Rec.Ops[0], state, by, nil)
	c.memo[k] = v
	return v
}

// beats decides between two that have not seen each other. Of equals, which are branches of
// one log, the hash does.
func (l *Link) beats(o *Link) bool {
	if d := bytes.Compare(l.Rank, o.Rank); d != 0 {
		return d < 0
	}
	return bytes.Compare(l.Rec.ID.Hash[:], o.Rec.ID.Hash[:]) < 0
}

func (c *Chain) has(l, o *Link) bool {
	if !l.Whole && l.Rec.ID.Log != o.Rec.ID.Log {
		return false
	}
	saw, err := c.saw(l.Rec, o.Rec.ID)
	c.err = errors.Join(c.err, err)
	return saw
}

// Records returns the definitions of a chain, which may be nil, by arrival.
func (c *Chain) Records() map[int64]*journal.Record {
	recs := map[int64]*journal.Record{}
	if c != nil {
		for _, l := range c.Links {
			recs[l.Rec.N] = l.Rec
		}
	}
	return recs
}

// Of returns the link of a record; nil if there is none.
func (c *Chain) Of(id clock.RecordID) *Link { return c.of[id] }

// At returns the definition that judges an operation of a record: what the last link left
// that holds and has not seen it; nil for none.
func (c *Chain) At(x clock.RecordID) ([]byte, error) {
	for _, l := range slices.Backward(c.Links) {
		if l.Code != keyspace.CodeOK {
			continue
		}
		if saw, err := c.saw(l.Rec, x); err != nil || !saw {
			return l.Next.Doc, err
		}
	}
	return c.Base, nil
}
