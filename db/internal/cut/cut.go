// Package cut says which records of a database count as never written, and how that is
// stored.
package cut

import (
	"bytes"
	"encoding/binary"
	"maps"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A Cut says which records count as never written, and which snapshots stand in
// their place. The documents of a snapshot come before every operation.
type Cut struct {
	// Void holds the logs of which records are void.
	Void map[clock.LogID]clock.Void
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
	if c.Void[id.Log].Has(id) {
		return true
	}
	return snapshot && id.Seq > c.Snapshots[id.Log].Last
}

// TagOf returns what stands for a state hash in c.
func (c *Cut) TagOf(state clock.Hash) clock.Hash {
	if c.Tag == nil {
		return state
	}
	return c.Tag(state)
}

// Clone returns a copy that shares nothing with c; maps that are nil are empty in it.
func (c *Cut) Clone() Cut {
	out := Cut{Void: map[clock.LogID]clock.Void{}, Snapshots: map[clock.LogID]Snapshot{}, Tag: c.Tag}
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
	Snapshot uint64 // the last record of what was a snapshot in force
	Void     clock.Void
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
		if !old.Void[id].Equal(c.Void[id]) || was != is {
			marks = append(marks, Mark{id, was, old.Void[id]})
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

// EncodeMarks encodes each: log [32]byte ‖ snapshot u64be ‖ void.
func EncodeMarks(marks []Mark) (out [][]byte) {
	for i := range marks {
		b := binary.BigEndian.AppendUint64(bytes.Clone(marks[i].Log[:]), marks[i].Snapshot)
		out = append(out, append(b, marks[i].Void.Encode()...))
	}
	return out
}

// SizeOf returns about how many bytes marks take in the note of what is to be done.
func SizeOf(marks []Mark) (n int) {
	for _, m := range EncodeMarks(marks) {
		n += len(m) + 16 // of BSON
	}
	return n
}

// ParseMarks decodes what EncodeMarks gave.
func ParseMarks(in [][]byte) (out []Mark, err error) {
	for _, b := range in {
		if len(b) < 40 {
			return nil, keyspace.ErrCorrupt
		}
		v, err := clock.DecodeVoid(b[40:])
		if err != nil {
			return nil, fault.Of(keyspace.ErrCorrupt, "corrupt value in the store: %w", err)
		}
		out = append(out, Mark{clock.LogID(b[:32]), binary.BigEndian.Uint64(b[32:]), v})
	}
	return out, nil
}

// Save writes what c says of a log.
func (c *Cut) Save(tx store.Tx, space keyspace.Space, id clock.LogID) error {
	put := func(tag byte, v []byte, is bool) error {
		k := space.Key(tag, id[:])
		if is {
			return tx.Put(k, v)
		}
		return tx.Delete(k)
	}
	void := c.Void[id]
	if err := put(keyspace.TagVoid, void.Encode(), !void.Empty()); err != nil {
		return err
	}
	s, is := c.Snapshots[id]
	return put(keyspace.TagSnapshot, binary.BigEndian.AppendUint64(nil, s.Last), is)
}

// Load reads the cut of a database.
func Load(r store.Reader, space keyspace.Space) (c Cut, err error) {
	c = Cut{Void: map[clock.LogID]clock.Void{}, Snapshots: map[clock.LogID]Snapshot{}}
	err = eachLog(r, space.Key(keyspace.TagVoid), func(id clock.LogID, v []byte) bool {
		void, err := clock.DecodeVoid(v)
		c.Void[id] = void
		return err == nil && !void.Empty()
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
