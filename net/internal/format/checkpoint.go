package format

import (
	"fmt"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

const (
	maxCheckpoint = 32 << 10 // bytes of a checkpoint's payload
	// MaxCovered bounds the heads that a checkpoint names.
	MaxCovered = 384
)

// A Checkpoint says where history is cut: the records up to its heads count as
// never written, and those of its snapshot stand in their place.
type Checkpoint struct {
	Heads    []clock.RecordID // sorted by log, position and hash; of logs that earlier ones did not cover as far, one a branch
	Snapshot clock.RecordID   // the last record of the snapshot log
	State    clock.Hash       // the tag of the state hash of the snapshot's documents: [Keys.StateTag]
}

type checkpointWire struct {
	_     struct{} `cbor:",toarray"`
	Heads []coveredWire
	Last  coveredWire
	State clock.Hash
}

type coveredWire struct {
	_    struct{} `cbor:",toarray"`
	Log  clock.LogID
	Seq  uint64
	Hash clock.Hash
}

// id returns the record that w names.
func (w *coveredWire) id() clock.RecordID {
	return clock.RecordID{Log: w.Log, Seq: w.Seq, Hash: w.Hash}
}

// coveredWires returns heads as they are encoded.
func coveredWires(heads ...clock.RecordID) []coveredWire {
	w := make([]coveredWire, len(heads))
	for i, h := range heads {
		w[i] = coveredWire{Log: h.Log, Seq: h.Seq, Hash: h.Hash}
	}
	return w
}

func (c *Checkpoint) wire() *checkpointWire {
	return &checkpointWire{Heads: coveredWires(c.Heads...), Last: coveredWires(c.Snapshot)[0], State: c.State}
}

// checkpoint checks the form: sorted heads with positions, and a snapshot that it does
// not cover itself.
func (w *checkpointWire) checkpoint() (*Checkpoint, error) {
	bad := func(what string) (*Checkpoint, error) {
		return nil, fault.Of(ErrMalformed, "checkpoint: %s", what)
	}
	if len(w.Heads) == 0 || len(w.Heads) > MaxCovered {
		return bad(fmt.Sprintf("%d heads", len(w.Heads)))
	}
	c := &Checkpoint{Heads: make([]clock.RecordID, len(w.Heads)), State: w.State, Snapshot: w.Last.id()}
	if c.Snapshot.Seq == 0 {
		return bad("no snapshot")
	}
	for i, h := range w.Heads {
		c.Heads[i] = h.id()
		switch {
		case h.Seq == 0:
			return bad("head without a position")
		case h.Log == c.Snapshot.Log:
			return bad("covers its own snapshot")
		case i > 0 && CompareIDs(c.Heads[i-1], c.Heads[i]) >= 0:
			return bad("heads are not sorted")
		}
	}
	return c, nil
}

// After checks that the checkpoint, whose heads by log are given, goes on from an earlier one:
// of a log that both name it names a new head, and none that is as low as the lowest was, unless
// the earlier one names it, too.
func (c *Checkpoint) After(old *Checkpoint, heads map[clock.LogID][]clock.RecordID) error {
	if old.Snapshot.Log == c.Snapshot.Log {
		return fault.Of(ErrMalformed, "checkpoint with the snapshot of an earlier one")
	}
	for i, h := range old.Heads {
		if i > 0 && old.Heads[i-1].Log == h.Log {
			continue // the lowest of a log is the first
		}
		fresh := slices.DeleteFunc(slices.Clone(heads[h.Log]), func(now clock.RecordID) bool { return slices.Contains(old.Heads, now) })
		low := slices.ContainsFunc(fresh, func(now clock.RecordID) bool { return now.Seq <= h.Seq })
		if len(heads[h.Log]) > 0 && (len(fresh) == 0 || low) {
			return fault.Of(ErrMalformed, "checkpoint covers no more of log %s than an earlier one", h.Log.Short())
		}
	}
	return nil
}
