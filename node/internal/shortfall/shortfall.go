// Package shortfall compares what a home's note has of a device's logs with what is held.
package shortfall

import (
	"fmt"

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
