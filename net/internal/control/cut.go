package control

import (
	"maps"

	"github.com/weftdb/weft/internal/clock"
)

// A Cut says which data records count as never written, and which snapshots stand
// in their place. The documents of a snapshot come before every operation.
type Cut struct {
	// Void holds the logs of which records are void: up to where a checkpoint covers
	// one, what a removal or a role change has not seen, or all of it, where its device
	// turned out not to have been let in.
	Void map[clock.LogID]clock.Void
	// Snapshots holds the snapshot logs in force; others are void.
	Snapshots map[clock.LogID]Snapshot
	// Authority is a hash of what may be defined by whom.
	Authority clock.Hash
	// Tag returns what stands for a state hash in what relays see.
	Tag func(state clock.Hash) clock.Hash
}

// A Snapshot is what stands for the records that a checkpoint covers.
type Snapshot struct {
	Last  uint64     // position of the last record
	State clock.Hash // the tag of the documents' state hash, as its writer says
	Whole bool       // all records that it stands for are held
}

// Clone copies the maps: who is told of a cut may keep it.
func (c Cut) Clone() Cut {
	return Cut{Void: maps.Clone(c.Void), Snapshots: maps.Clone(c.Snapshots), Authority: c.Authority, Tag: c.Tag}
}

// Equal reports whether both leave the same out, and by the same roles; whether records
// are held is no part of it.
func (c Cut) Equal(o Cut) bool {
	return c.Authority == o.Authority && maps.EqualFunc(c.Void, o.Void, clock.Void.Equal) && maps.EqualFunc(c.Snapshots, o.Snapshots, func(a, b Snapshot) bool {
		return a.Last == b.Last && a.State == b.State
	})
}
