// Package held is the logs of a thread as they are in memory: their branches, how far each
// is, and what of them lies above the floors that checkpoints set. It keeps nothing and
// takes no lock: package thread does both.
//
//	Log ── Branch      the only one, unless its device forked the log
//	Place              what of a log counts, once a floor is there
//	BranchOf, Common   which branch a record is on; what two branches share
//	Forks              the proofs
//	Seen               which records come before what others have seen
package held

import (
	"bytes"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/floor"
	"github.com/weftdb/weft/net/internal/logstore"
)

// A Log is what is held of one log.
type Log struct {
	logstore.Log
	Branches []*Branch // by their numbers, of which some may be missing

	// What the floor leaves: see [Log.Place]. Sorted.
	Floor  floor.Floor
	Kept   []clock.Single // at or below the top of the floor, and counting
	Beside []clock.Single // above it, and void
}

// A Branch is one line of a log. Its positions never pass each other:
//
//	base ≤ done ≤ tip        what is held; up to done it was judged, the rest waits
//	signed ≤ tip             runs end at signed positions
//	sent ≤ flushed           what may be sent, what may be acknowledged
//
// A log 1 2 3 that its device forked after 1 (a restored copy wrote 2' 3') is two:
//
//	branch 0    base –    tip 3
//	branch 1    base 1    tip 3'     walked back by previous hashes to its base
type Branch struct {
	logstore.Branch

	// In memory only: what is durable (and folded, on a member) up to a signed
	// position, and up to any.
	Sent, Flushed clock.RecordID
	Pending       int // arrivals that are not flushed

	// In memory only: what is after From on the way to the tip is held, and counts unless
	// something else limits it. None of it does if the branch is Void.
	From clock.RecordID
	Void bool
}

// Counts reports whether the record of the branch at a position lies above the floor.
func (b *Branch) Counts(seq uint64) bool { return !b.Void && seq > b.From.Seq }

// Forked reports whether the log has more than one branch: a range of keys then
// holds records of several.
func (l *Log) Forked() bool { return len(l.Branches) > 1 }

// Start returns the position up to which nothing is held of a log: it was cut off, here or
// before it came here.
func (l *Log) Start() (seq uint64) {
	for i, b := range l.Branches {
		if i == 0 || b.Base.Seq < seq {
			seq = b.Base.Seq
		}
	}
	return seq
}

// Below returns the position up to which nothing of the log is asked for; ahead returns a
// checkpoint that is not in force yet, of which a record is a head, or nil.
func (l *Log) Below(ahead func(clock.RecordID) *control.Checkpoint) uint64 {
	start := l.Start()
	if len(l.Floor) > 0 || start == 0 {
		return l.Floor.Lowest()
	}
	for _, b := range l.Branches {
		if c := ahead(b.Base); c != nil {
			i := slices.IndexFunc(c.Heads, func(h clock.RecordID) bool { return h.Log == l.ID })
			start = min(start, c.Heads[i].Seq)
		}
	}
	return start
}

// Top returns the highest flushed position of a log.
func (l *Log) Top() (top clock.RecordID) {
	for _, b := range l.Branches {
		if b.Flushed.Seq > top.Seq || (b.Flushed.Seq == top.Seq && bytes.Compare(b.Flushed.Hash[:], top.Hash[:]) > 0) {
			top = b.Flushed
		}
	}
	return top
}

// Tips returns the ends of the branches.
func (l *Log) Tips() (ids []clock.RecordID) {
	for _, b := range l.Branches {
		ids = append(ids, b.Tip)
	}
	return ids
}

// Next returns the number of the next branch.
func (l *Log) Next() uint32 {
	if len(l.Branches) == 0 {
		return 0
	}
	return l.Branches[len(l.Branches)-1].Num + 1
}

// Branch returns the branch of a number, a new one if there is none.
func (l *Log) Branch(num uint32) *Branch {
	for _, b := range l.Branches {
		if b.Num == num {
			return b
		}
	}
	b := &Branch{Branch: logstore.Branch{Num: num}}
	l.Branches = append(l.Branches, b)
	return b
}

// Add says that a record was added to a branch. It reports whether that changes what of the
// log is void.
func (l *Log) Add(b *Branch, id clock.RecordID) bool {
	if id.Seq > l.Floor.Top() || !b.Counts(id.Seq) {
		return false
	}
	l.Kept = insert(l.Kept, clock.Single{Seq: id.Seq, Hash: id.Hash})
	return true
}

func compare(a, b clock.Single) int {
	if a.Seq != b.Seq {
		return int(min(max(int64(a.Seq-b.Seq), -1), 1))
	}
	return bytes.Compare(a.Hash[:], b.Hash[:])
}

func insert(all []clock.Single, r clock.Single) []clock.Single {
	i, found := slices.BinarySearchFunc(all, r, compare)
	if found {
		return all
	}
	return slices.Insert(slices.Clip(all), i, r) // who read it keeps it
}

func has(all []clock.Single, id clock.RecordID) bool {
	_, found := slices.BinarySearchFunc(all, clock.Single{Seq: id.Seq, Hash: id.Hash}, compare)
	return found
}

// Above reports whether a record that is held, or is a head of the floor, has records after
// it that count.
func (l *Log) Above(id clock.RecordID) bool {
	switch {
	case len(l.Floor) == 0, l.Floor.Has(id):
		return true
	case id.Seq <= l.Floor.Top():
		return has(l.Kept, id)
	}
	return !has(l.Beside, id)
}

// Cut returns what of the log is void by its floor.
func (l *Log) Cut() clock.Void {
	if len(l.Floor) == 0 {
		return clock.Void{}
	}
	return clock.NewVoid([]clock.Span{{First: 1, Last: l.Floor.Top()}}, l.Beside).But(l.Kept)
}
