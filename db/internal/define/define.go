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
}

// A Chain is the links of one collection.
type Chain struct {
	Links []*Link // in stamp order
	Base  []byte  // the definition before all, of a snapshot; nil for none

	saw   func(d *journal.Record, x clock.RecordID) (bool, error)
	judge judge.Judge
	memo  map[step]judge.Verdict
	err   error
}

// A step is a link on what was before it.
type step struct {
	hash clock.Hash
	prev string
}

// maxMemo bounds the steps that a chain remembers.
const maxMemo = 1000

// Fold finds what of links holds. saw reports whether a record has seen another, which is
// none of its own operations. was, which may be nil, is the chain before: what it found out
// is used again.
func Fold(links []*Link, base []byte, saw func(d *journal.Record, x clock.RecordID) (bool, error), was *Chain) (*Chain, error) {
	c := &Chain{Links: links, Base: base, saw: saw, memo: map[step]judge.Verdict{}}
	if was != nil && len(was.memo) < maxMemo {
		c.memo = was.memo
	}
	slices.SortFunc(links, func(a, b *Link) int { return journal.Stamp(a.Rec, 0).Compare(journal.Stamp(b.Rec, 0)) })
	for i, l := range links {
		c.count(l, links[:i])
	}
	counts := filter(links, func(l *Link) bool { return l.Code == keyspace.CodeOK })
	state := keyspace.State{Doc: base}
	for _, l := range links {
		if l.Code == keyspace.CodeOK && c.beaten(l, counts) {
			l.Code, l.Err = keyspace.CodeStale, ErrStale
		}
		if l.Code != keyspace.CodeOK {
			continue
		}
		v := c.step(l, state)
		if l.Code, l.Err, l.Next = v.Code, v.Err, v.Next; v.Code == keyspace.CodeOK {
			state = v.Next
		}
	}
	return c, c.err
}

// count says whether a link counts, by those before it that it has seen.
func (c *Chain) count(l *Link, before []*Link) {
	l.Code, l.Err = keyspace.CodeOK, nil
	if l.Role != judge.RoleOwner {
		seen := filter(before, func(o *Link) bool { return o.Code == keyspace.CodeOK && c.has(l, o) })
		state := keyspace.State{Doc: c.Base}
		for _, o := range seen {
			if !c.beaten(o, seen) {
				if v := c.step(o, state); v.Code == keyspace.CodeOK {
					state = v.Next
				}
			}
		}
		by := l.Rec.Author()
		by.Right = l.Role
		if v := c.judge.Decide(&l.Rec.Ops[0], state, by, nil); errors.Is(v.Err, keyspace.ErrRole) || errors.Is(v.Err, keyspace.ErrRule) {
			l.Code, l.Err = v.Code, v.Err
			return
		}
	}
	if !l.Whole {
		l.Code, l.Err = keyspace.CodeUnseen, ErrUnseen
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

// beaten reports whether a link that counts is concurrent with a senior one among others.
func (c *Chain) beaten(l *Link, others []*Link) bool {
	return slices.ContainsFunc(others, func(o *Link) bool { return o != l && o.beats(l) && !c.has(l, o) && !c.has(o, l) })
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

// Of returns the link of a record; nil if there is none.
func (c *Chain) Of(id clock.RecordID) *Link {
	i := slices.IndexFunc(c.Links, func(l *Link) bool { return l.Rec.ID == id })
	if i < 0 {
		return nil
	}
	return c.Links[i]
}

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

func filter[T any](xs []T, f func(T) bool) (out []T) {
	for _, x := range xs {
		if f(x) {
			out = append(out, x)
		}
	}
	return out
}
