// Package seen says what the author of a record had seen that names heads: of a definition
// or a horizon. docs/design/authority.md has the rules.
package seen

import (
	"bytes"
	"sort"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/internal/clock"
)

// A Sight answers by the records that a journal holds and those of them that count.
type Sight struct {
	Journal journal.Journal
	Voids   func(id clock.RecordID) bool // what counts as never written
	Below   func(id clock.RecordID) bool // of it what does so by its position: nobody need have it
}

// Lacks returns the first head of a view that is not held, or not earlier than who names it,
// but for what nobody need have.
func (s *Sight) Lacks(view []clock.RecordID, before clock.Time) (head clock.RecordID, lacks bool, err error) {
	for _, h := range view {
		if lacks, err := s.LacksHead(h, before); lacks || err != nil {
			return h, lacks, err
		}
	}
	return head, false, nil
}

// LacksHead is Lacks of one head.
func (s *Sight) LacksHead(h clock.RecordID, before clock.Time) (bool, error) {
	if s.Below(h) {
		return false, nil
	}
	at, held, err := s.Journal.Held(h)
	return !held || at >= before, err
}

// Saw reports whether the author of a record with a view has seen another: it comes before it
// in its log, or is, or comes before, a head that it names. What it names that is void is none
// of a branch.
func (s *Sight) Saw(by clock.RecordID, view []clock.RecordID, x clock.RecordID) (bool, error) {
	if x.Log == by.Log {
		if x.Seq >= by.Seq {
			return false, nil
		}
		return s.Journal.Precedes(x, by)
	}
	i := sort.Search(len(view), func(i int) bool { return bytes.Compare(view[i].Log[:], x.Log[:]) >= 0 })
	for ; i < len(view) && view[i].Log == x.Log; i++ {
		h := view[i]
		switch {
		case h == x, x.Seq < h.Seq && s.Voids(h):
			return true, nil
		case x.Seq < h.Seq:
			if saw, err := s.Journal.Precedes(x, h); saw || err != nil {
				return saw, err
			}
		}
	}
	return false, nil
}
