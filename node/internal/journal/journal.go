// Package journal is a thread as the fold of a database sees it: it joins packages net and
// db, which do not meet.
package journal

import (
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net"
)

// A Journal is a thread as the fold sees it.
type Journal struct{ t *net.Thread }

var _ replica.Journal = Journal{}

// Of returns the journal of a thread.
func Of(t *net.Thread) Journal { return Journal{t} }

// Append implements [replica.Journal].
func (j Journal) Append(tx store.Tx, drafts []replica.Draft) ([]clock.RecordID, int64, func(bool), error) {
	out := make([]net.Draft, len(drafts))
	for i, d := range drafts {
		out[i] = net.Draft(d)
	}
	return j.t.Append(tx, out)
}

// Flushed implements [replica.Journal].
func (j Journal) Flushed(n int64) { j.t.Flushed(n) }

// Right implements [replica.Journal].
func (j Journal) Right(id clock.RecordID) (role string, rank []byte, err error) {
	r, rank, err := j.t.RightOf(id)
	return r.String(), rank, Unread(err)
}

// View implements [replica.Journal].
func (j Journal) View(limit int) []clock.RecordID { return j.t.DataView(limit) }

// Held implements [replica.Journal].
func (j Journal) Held(id clock.RecordID) (at clock.Time, held bool, err error) {
	at, held, err = j.t.HeldAt(id)
	return at, held, Unread(err)
}

// Precedes implements [replica.Journal].
func (j Journal) Precedes(id, head clock.RecordID) (bool, error) {
	before, err := j.t.Precedes(id, head)
	return before, Unread(err)
}

// Unseen implements [replica.Journal].
func (j Journal) Unseen(heads []clock.RecordID) (at clock.Time, ok bool, err error) {
	at, ok, err = j.t.Unseen(heads)
	return at, ok, Unread(err)
}

// Authority implements [replica.Journal].
func (j Journal) Authority() clock.Hash { return j.t.Authority() }

// IDs implements [replica.Journal].
func (j Journal) IDs(n int64, f func(n int64, id clock.RecordID, snapshot bool) bool) error {
	return Unread(j.t.IDs(n, f))
}

// Covers reports whether a checkpoint in force covers a record.
func (j Journal) Covers(id clock.RecordID) bool { return j.t.Covers(id) }

// Unread takes it for damage that a record which was accepted cannot be read again.
func Unread(err error) error {
	switch fault.KindOf(err) {
	case fault.Malformed, fault.NotFound, fault.Altered, fault.WrongKey, fault.TooLarge, fault.Bomb, fault.UnknownVersion:
		return fault.Errorf(fault.Corrupt, "the log: %w", err)
	}
	return err
}

// Arrivals implements [replica.Journal].
func (j Journal) Arrivals(n int64, maxBytes int) ([]replica.Arrival, error) {
	in, err := j.t.Arrivals(n, maxBytes)
	return j.arrivals(in), Unread(err)
}

// Read implements [replica.Journal].
func (j Journal) Read(ns []int64, maxBytes int) ([]replica.Arrival, error) {
	in, err := j.t.Records(ns, maxBytes)
	return j.arrivals(in), Unread(err)
}

// arrivals names the writer of each record.
func (j Journal) arrivals(in []net.Arrival) []replica.Arrival {
	out := make([]replica.Arrival, len(in))
	var last keys.PublicKey // whose texts the last has: neighbours are mostly by one writer
	for i, a := range in {
		out[i] = replica.Arrival{N: a.N, Entry: replica.Entry{ID: a.ID, Time: a.Time, Atomic: a.Atomic, Payload: a.Payload, Snapshot: a.Snapshot}}
		id, ok := j.t.Writer(a.ID)
		switch {
		case !ok:
		case i > 0 && id == last && out[i-1].Writer != "":
			out[i].Writer, out[i].Role = out[i-1].Writer, out[i-1].Role
		default:
			out[i].Writer, out[i].Role = j.author(id)
			last = id
		}
	}
	return out
}

// Writer implements [replica.Journal].
func (j Journal) Writer() (identity, role string) { return j.author(j.t.Self()) }

// author names an identity and what it is in the database: the owner is who
// made it, as the genesis says. Roles that invites give can change and are not
// told, because what is judged by them would have to be judged again.
func (j Journal) author(id keys.PublicKey) (identity, role string) {
	if id == j.t.Owner() {
		return id.DID(), "owner"
	}
	return id.DID(), "writer"
}
