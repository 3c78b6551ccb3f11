package thread

import (
	"bytes"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/logstore"
)

// A threadLog is what is held of one log.
type threadLog struct {
	logstore.Log
	branches []*branch
}

// forked reports whether the log has more than one branch: a range of keys then
// holds records of several.
func (l *threadLog) forked() bool { return len(l.branches) > 1 }

// start returns the position after which the records of a log's first branch are
// held: those before it were cut off, here or before they came here.
func (l *threadLog) start() uint64 {
	if len(l.branches) == 0 {
		return 0
	}
	return l.branches[0].Base.Seq
}

// top returns the highest flushed position of a log.
func (l *threadLog) top() (top clock.RecordID) {
	for _, b := range l.branches {
		if b.flushed.Seq > top.Seq || (b.flushed.Seq == top.Seq && bytes.Compare(b.flushed.Hash[:], top.Hash[:]) > 0) {
			top = b.flushed
		}
	}
	return top
}

// A branch is one line of a log: the only one, unless the log's device forked it.
// Its positions never pass each other:
//
//	base ≤ done ≤ tip        what is held; up to done it was judged, the rest waits
//	signed ≤ tip             runs end at signed positions
//	sent ≤ flushed           what may be sent, what may be acknowledged: see Flushed
//
// A log 1 2 3 that its device forked after 1 (a restored copy wrote 2' 3') is two:
//
//	branch 0    base –    tip 3
//	branch 1    base 1    tip 3'     walked back by previous hashes to its base
type branch struct {
	logstore.Branch

	// In memory only: what is durable (and folded, on a member) up to a signed
	// position, and up to any.
	sent, flushed clock.RecordID
	pending       int // arrivals that are not flushed
}

// addLog gives a log the next number; mu is held, or nobody else knows t.
func (t *Thread) addLog(d format.Descriptor, raw []byte) *threadLog {
	l := &threadLog{Log: logstore.Log{Num: uint32(len(t.byNum)), ID: format.LogIDOf(t.id, raw), Desc: d, Raw: raw}}
	t.number(l)
	return l
}

// number puts a log into the lists of all: what is done at each record follows what it
// concerns, and not how many logs there are.
func (t *Thread) number(l *threadLog) {
	t.byNum = append(t.byNum, l)
	t.logs[l.ID] = l
	i, _ := slices.BinarySearchFunc(t.byID, l.ID, func(o *threadLog, id clock.LogID) int { return bytes.Compare(o.ID[:], id[:]) })
	t.byID = slices.Insert(t.byID, i, l)
	if l.Desc.Kind != format.KindControl {
		t.ofData = append(t.ofData, l)
	}
}

// newLocalLog returns a log with the number that it will have after n others that
// are not installed yet.
func (t *Thread) newLocalLog(d format.Descriptor, n int) *threadLog {
	raw := d.Encode()
	return &threadLog{Log: logstore.Log{Num: uint32(len(t.byNum) + n), ID: format.LogIDOf(t.id, raw), Desc: d, Raw: raw}}
}

// installLocal takes a log of this device in, once its announcement has committed.
func (t *Thread) installLocal(l *threadLog) {
	if _, ok := t.logs[l.ID]; !ok {
		t.number(l)
	}
}

// installBranch takes next in as the branch of its number.
func (t *Thread) installBranch(l *threadLog, next *logstore.Branch) *branch {
	if int(next.Num) == len(l.branches) {
		l.branches = append(l.branches, &branch{})
	}
	b := l.branches[next.Num]
	b.Branch = *next
	return b
}

// branchOf returns the branch that a record is on.
func (t *Thread) branchOf(r store.Reader, l *threadLog, id clock.RecordID) (*branch, error) {
	if !l.forked() {
		return l.branches[0], nil
	}
	for _, b := range l.branches {
		if id.Seq <= b.Base.Seq || id.Seq > b.Tip.Seq {
			continue
		}
		found := false
		err := t.rows.WalkPath(r, l.Num, b.Tip, id.Seq-1, func(at clock.RecordID, _ format.Stored) (bool, error) {
			found = at == id
			return false, nil
		})
		if err != nil {
			return nil, err
		}
		if found {
			return b, nil
		}
	}
	return nil, fault.Of(ErrNotFound, "record %s is on no branch", id)
}
