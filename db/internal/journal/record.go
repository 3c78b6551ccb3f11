package journal

import (
	"sync"

	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// Read reads the record that arrived as number n; ErrLost if the journal
// has it no more.
func Read(j Journal, n int64) (*Record, error) {
	as, err := j.Read([]int64{n}, 1)
	if err != nil {
		return nil, err
	}
	if len(as) == 0 || as[0].N != n {
		return nil, keyspace.ErrLost
	}
	return Decode(&as[0]), nil
}

// A Record is one transaction of a log, decoded. It is immutable once its number and
// ID are known, and several readers may share it.
type Record struct {
	N      int64 // the arrival; 0 while a request is judged
	ID     clock.RecordID
	Time   clock.Time // at which all its operations stand; 0 for a snapshot's, which come first
	Clock  clock.Time // its own; Time is later if a horizon binds it
	Atomic bool       // all of its operations are accepted or none
	Writer string     // identity of its log
	Role   string     // of that identity
	Ops    []payload.Op
	Seeds  []lthash.Seed // of inserted documents, if known; by operation
	Bad    error         // why its payload is malformed

	// View is what the author of a definition had: heads of logs. Nil if the record is none.
	View    []clock.RecordID
	Horizon *payload.Horizon // nil if it is none; it has no operations

	Snapshot bool // of a snapshot log
}

// Ref names operation i of the record by local numbers.
func (r *Record) Ref(i int) keyspace.Ref { return keyspace.Ref{Time: r.Time, N: r.N, Index: uint32(i)} }

// Moves reports whether horizons bind the record: definitions hold by what they have seen, and
// what has no operation stands nowhere.
func (r *Record) Moves() bool {
	return !r.Snapshot && r.Bad == nil && r.View == nil && r.Horizon == nil
}

// Stamp names operation i of a record as every replica does.
func Stamp(rec *Record, i uint32) clock.Stamp {
	return clock.Stamp{Time: rec.Time, Log: rec.ID.Log, Hash: rec.ID.Hash, Index: i}
}

// StampAt is Stamp of what stands, or stood, at r.
func StampAt(rec *Record, r keyspace.Ref) clock.Stamp {
	return clock.Stamp{Time: r.Time, Log: rec.ID.Log, Hash: rec.ID.Hash, Index: r.Index}
}

// Decode decodes an arrival; a malformed payload is the record's own fault.
func Decode(a *Arrival) *Record {
	r := &Record{N: a.N, ID: a.ID, Time: a.Time, Clock: a.Time, Atomic: a.Atomic, Writer: a.Writer, Role: a.Role, Snapshot: a.Snapshot}
	if r.Snapshot {
		r.Time, r.Clock, r.Atomic = 0, 0, false // it comes before everything that the cut leaves
		r.Ops, r.Bad = payload.DecodeSnapshot(a.Payload)
		return r
	}
	if payload.IsHorizon(a.Payload) && !a.Atomic {
		r.Horizon, r.Bad = payload.DecodeHorizon(a.Payload)
		return r
	}
	r.Ops, r.View, r.Bad = payload.Decode(a.Payload, a.Atomic)
	if r.View != nil && r.Ops[0].Coll != judge.SystemCollection {
		r.Ops, r.View, r.Bad = nil, nil, fault.Of(payload.ErrMalformed, "malformed transaction: a view, and no definition")
	}
	return r
}

// DecodeAll decodes arrivals on two goroutines, and with seeds hashes the documents that
// they insert: that is most of the work of catching up, and needs nothing of the committer.
func DecodeAll(as []Arrival, seeds bool) []*Record {
	recs := make([]*Record, len(as))
	var wg sync.WaitGroup
	half := func(from int) {
		var buf []byte
		for i := from; i < len(as); i += 2 {
			r := Decode(&as[i])
			recs[i] = r
			if !seeds {
				continue
			}
			r.Seeds = make([]lthash.Seed, len(r.Ops))
			for k := range r.Ops {
				if op := &r.Ops[k]; op.Kind == payload.Insert {
					buf = buf[:0]
					r.Seeds[k] = keyspace.DocSeed(buf, op.Coll, op.Key, op.Doc)
				}
			}
		}
	}
	wg.Go(func() { half(1) })
	half(0)
	wg.Wait()
	return recs
}

// Author returns who wrote the record, and when.
func (r *Record) Author() judge.Author {
	return judge.Author{Time: r.Time, Writer: r.Writer, Role: r.Role, Ops: len(r.Ops)}
}
