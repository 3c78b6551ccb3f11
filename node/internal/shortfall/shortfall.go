// Package shortfall compares what a home's note has of a device's logs with what is held.
package shortfall

import (
	"fmt"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net"
	"github.com/weftdb/weft/node/internal/homenote"
)

// A Shortfall is how much of what was noted of this device's logs is not held.
type Shortfall struct {
	Noted, Gone uint64          // records
	Heads       []homenote.Head // noted and not held
	Said        []string        // a clause for each of them
}

// Of compares what was noted of this device's logs with what the thread holds. Of
// a log whose noted record is not there at least that one counts as gone.
func Of(t *net.Thread, heads []homenote.Head) (s Shortfall) {
	held := t.Heads()
	for _, h := range heads {
		s.Noted += h.Seq
		if Short(t, []homenote.Head{h}) == nil {
			continue
		}
		s.Gone += h.Seq - min(held[h.Log], h.Seq-1) // another record at its place is not it
		s.Heads = append(s.Heads, h)
		s.Said = append(s.Said, fmt.Sprintf("records %d to %d of log %s, which this device wrote", held[h.Log]+1, h.Seq, h.Log.Short()))
	}
	return s
}

// Short returns an error if the thread does not hold what was durable of this
// device's own logs.
func Short(t *net.Thread, heads []homenote.Head) error {
	for _, h := range heads {
		if !t.Has(clock.RecordID{Log: h.Log, Seq: h.Seq, Hash: h.Hash}) {
			return fault.Errorf(fault.Corrupt, "the store has lost what this device had written: log %s reached record %d", h.Log.Short(), h.Seq)
		}
	}
	return nil
}

// Lose notes what of a database is served without; what is not back of an earlier loss
// is added. Losses of one database are one entry, with the heads of at most as many logs as
// a note keeps.
func Lose(note *homenote.Note, t *net.Thread, how uint64, s Shortfall) error {
	id := t.ID()
	l := homenote.Loss{Thread: id, When: uint64(time.Now().Unix()), How: how, Records: s.Gone, Heads: s.Heads}
	if noted, _ := note.Get(id); noted.Loss != nil {
		was := Of(t, noted.Loss.Heads)
		if l.Records += was.Gone; how == homenote.Maybe && was.Gone > 0 {
			l.How = noted.Loss.How // what is known says more
		}
		l.Heads = append(was.Heads, l.Heads...)
		l.Heads = l.Heads[:min(len(l.Heads), homenote.MaxHeads)]
	}
	return note.Lose(l)
}

// Forget forgets a loss of which everything has come back.
func Forget(note *homenote.Note, t *net.Thread) error {
	noted, _ := note.Get(t.ID())
	if noted.Loss == nil || len(noted.Loss.Heads) == 0 || Short(t, noted.Loss.Heads) != nil {
		return nil
	}
	return note.Lose(homenote.Loss{Thread: t.ID()})
}
