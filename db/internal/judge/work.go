package judge

import (
	"errors"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/internal/fault"
)

// Every replica does the work of every record, so a record must not cause more than a
// bounded amount of it. What an operation takes is counted: bytes walked over, or
// what takes as long (value.Meter). The verdict is one of the operation, its place and its
// record alone, so the operations of a record have equal shares, and not what others
// left of a common one: those are on documents that may be folded at another time.
//
//	record of 1 operation      2 GiB for it
//	record of 4,096            512 KiB for each
const (
	// MaxWork bounds what all operations of a record may take, in bytes walked over; it
	// is a constant of the protocol. 2 GiB take about a second.
	MaxWork = 2 << 30
	// Headroom is how much less a device lets its own records take: where they come to
	// lie, documents may be larger than here.
	Headroom = 4
)

// What is counted for an operation besides the documents that it walks over.
const (
	workOp         = 1 << 10
	workDefinition = 256 << 10 // a definition is compiled,
	workDefByte    = 512       // by each byte of it
)

// ErrWork reports an operation that takes more than its share of its record's work.
var ErrWork = fault.New(fault.TooCostly,
	"the operation takes more than its share of the work that one transaction may cause: make it simpler, or put fewer operations into one transaction")

// share returns what one of ops operations of a record may take.
func share(ops int) int { return MaxWork / max(ops, 1) }

// FitsShare reports whether ops operations of which the costliest takes work can be one
// record of this device.
func FitsShare(ops, work int) bool { return ops*work <= MaxWork/Headroom }

// Decide gives the outcome of o on cur, as by writes it, with def in force; nil is no
// definition. Rules come last and only for what changes: they see the document before
// and after, and what changes nothing needs no leave.
func (j *Judge) Decide(o *payload.Op, cur keyspace.State, by Author, def *Definition) Verdict {
	most := share(by.Ops)
	m := &j.meter
	m.Left = most
	v := j.judge(o, cur, by.Time, def, m)
	if v.Code == keyspace.CodeOK && o.Kind != payload.State && (v.Next.Dead != cur.Dead || !keyspace.SameSlice(v.Next.Doc, cur.Doc)) {
		if err := def.allows(o, cur.Doc, v.Next.Doc, by, m); err != nil {
			v = Verdict{Next: cur, Code: keyspace.CodeRule, Err: err}
			switch {
			case errors.Is(err, keyspace.ErrRole):
				v.Code = keyspace.CodeRole
			case errors.Is(err, ErrNoView):
				v.Code = keyspace.CodeDefinition
			}
		}
	}
	j.Work = most - m.Left
	if m.Empty() && o.Kind != payload.State {
		return Verdict{Next: cur, Code: keyspace.CodeTooCostly, Err: ErrWork}
	}
	return v
}
