// Package cut says which records of a database count as never written, and how that is
// stored.
package cut

import (
	"encoding/binary"
	"maps"
	"math"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// A Cut says which records count as never written, and which snapshots stand in
// their place. The documents of a snapshot come before every operation.
type Cut struct {
	// Void holds the logs that are void, up to a position; math.MaxUint64 is
	// all of a log.
	Void map[clock.LogID]uint64
	// Snapshots holds the snapshot logs in force. Others are void.
	Snapshots map[clock.LogID]Snapshot
	// Tag gives what the journal's owner puts in the place of a state hash; nil if
	// State is the hash itself.
	Tag func(state clock.Hash) clock.Hash
}

// A Snapshot is one in force.
type Snapshot struct {
	Last  uint64     // position of its last record; what follows is void
	State clock.Hash // the state hash of its documents, or its tag
	// Whole says that this replica has all records that the snapshot stands
	// for, so that it can tell whether the documents are what they gave.
	Whole bool
}

// Voids reports whether a record counts as never written. A record of a snapshot log
// counts only if the snapshot is in force, up to its last.
func (c *Cut) Voids(id clock.RecordID, snapshot bool) bool {
	if id.Seq <= c.Void[id.Log] {
		return true
	}
	return snapshot && id.Seq > c.Snapshots[id.Log].Last
}

// Clone returns a copy that shares nothing with c; maps that are nil are empty in it.
func (c *Cut) Clone() Cut {
	out := Cut{Void: map[clock.LogID]uint64{}, Snapshots: map[clock.LogID]Snapshot{}, Tag: c.Tag}
	maps.Copy(out.Void, c.Void)
	maps.Copy(out.Snapshots, c.Snapshots)
	return out
}

// Same reports whether c and d leave out the same records.
func (c *Cut) Same(d *Cut) bool { return len(c.Marks(d)) == 0 }

// Fresh returns the logs of which c brings a snapshot into force that is not by old.
func (c *Cut) Fresh(old *Cut) (logs []clock.LogID) {
	for id, s := range c.Snapshots {
		if old.Snapshots[id].Last != s.Last {
			logs = append(logs, id)
		}
	}
	return logs
}

// A Mark is what the cut before left out of a log that the cut changes.
type Mark struct {
	Log      clock.LogID
	Void     uint64
	Snapshot uint64 // the last record of what was a snapshot in force
}

// Marks returns what old left out of each log that c changes.
func (c *Cut) Marks(old *Cut) (marks []Mark) {
	logs := map[clock.LogID]bool{}
	for _, x := range []*Cut{c, old} {
		for id := range x.Void {
			logs[id] = true
		}
		for id := range x.Snapshots {
			logs[id] = true
		}
	}
	for id := range logs {
		was, is := old.Snapshots[id].Last, c.Snapshots[id].Last
		if old.Void[id] != c.Void[id] || was != is {
			marks = append(marks, Mark{id, old.Void[id], was})
		}
	}
	return marks
}

// Before returns the cut that the marks say was before c.
func (c *Cut) Before(marks []Mark) Cut {
	old := c.Clone()
	old.Tag = nil
	for _, m := range marks {
		old.Void[m.Log] = m.Void
		delete(old.Snapshots, m.Log)
		if m.Snapshot > 0 {
			old.Snapshots[m.Log] = Snapshot{Last: m.Snapshot}
		}
	}
	return old
}

const markSize = 32 + 8 + 8

// EncodeMarks encodes each: log ‖ void u64be ‖ snapshot u64be.
func EncodeMarks(marks []Mark) (out [][]byte) {
	for i := range marks {
		b := binary.BigEndian.AppendUint64(append([]byte(nil), marks[i].Log[:]...), marks[i].Void)
		out = append(out, binary.BigEndian.AppendUint64(b, marks[i].Snapshot))
	}
	return out
}

// ParseMarks decodes what EncodeMarks gave.
func ParseMarks(in [][]byte) (out []Mark, err error) {
	for _, b := range in {
		if len(b) != markSize {
			return nil, keyspace.ErrCorrupt
		}
		out = append(out, Mark{clock.LogID(b[:32]), binary.BigEndian.Uint64(b[32:]), binary.BigEndian.Uint64(b[40:])})
	}
	return out, nil
}

// Save writes what c says of a log.
func (c *Cut) Save(tx store.Tx, space keyspace.Space, id clock.LogID) error {
	put := func(tag byte, v uint64, is bool) error {
		if k := space.Key(tag, id[:]); is {
			return tx.Put(k, binary.BigEndian.AppendUint64(nil, v))
		} else {
			return tx.Delete(k)
		}
	}
	s, is := c.Snapshots[id]
	if err := put(keyspace.TagVoid, c.Void[id], c.Void[id] > 0); err != nil {
		return err
	}
	return put(keyspace.TagSnapshot, s.Last, is)
}

// Load reads the cut of a database.
func Load(r store.Reader, space keyspace.Space) (c Cut, err error) {
	c = Cut{Void: map[clock.LogID]uint64{}, Snapshots: map[clock.LogID]Snapshot{}}
	err = eachLog(r, space.Key(keyspace.TagVoid), func(id clock.LogID, v []byte) bool {
		switch {
		case len(v) == 8:
			c.Void[id] = binary.BigEndian.Uint64(v)
		case len(v) == 1:
			c.Void[id] = math.MaxUint64
		default:
			return false
		}
		return true
	})
	if err != nil {
		return c, err
	}
	return c, eachLog(r, space.Key(keyspace.TagSnapshot), func(id clock.LogID, v []byte) bool {
		if len(v) != 8 {
			return false
		}
		c.Snapshots[id] = Snapshot{Last: binary.BigEndian.Uint64(v)}
		return true
	})
}

func eachLog(r store.Reader, prefix []byte, each func(id clock.LogID, v []byte) bool) error {
	it := r.Iterate(store.Prefix(prefix))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		id := it.Key()[len(prefix):]
		v, err := it.Value()
		if err != nil {
			return err
		}
		if len(id) != 32 || !each(clock.LogID(id), v) {
			return keyspace.ErrCorrupt
		}
	}
	return it.Err()
}
