// Package change is what commits tell: changes of documents, refusals and conflicts,
// and the criteria by which somebody wants to hear of them.
package change

import (
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// A Change is one change of one document, or of a refusal, as the committer
// notes it. It is immutable.
type Change struct {
	Op            OpSet // one
	Coll          string
	IDKey         []byte          // of the document's _id; nil if no document is meant
	ID            value.Value     // its _id
	Before, After keyspace.State  // what it was and is; no Doc if there was, or is, none
	By            clock.RecordID  // whose folding made the change; zero for a void set
	Time          clock.Time      // of that record, or of the document's last change
	Remote        bool            // another device wrote the record
	Late          bool            // the document was folded again
	Current       bool            // after is today's, and before is unknown
	Verdict       *ChangedVerdict // of OpRefused and OpCleared
	Index         uint32          // of OpConflict and OpResolved: the unique index,
	Key           []byte          // and the key in it
}

// Size returns about how many bytes the change holds, for the bound on those that wait.
func (c *Change) Size() int {
	n := 160 + len(c.Before.Doc) + len(c.After.Doc) + len(c.IDKey) + len(c.ID.Data) + len(c.Key)
	if c.Verdict != nil {
		n += len(c.Verdict.Message) + 128
	}
	return n
}

// A ChangedVerdict is what a change says of an operation that is refused now, or not any more.
type ChangedVerdict struct {
	Stamp   clock.Stamp
	Seq     uint64        // of the record in its log
	Kind    string        // of the operation; "" if its record is malformed
	Code    keyspace.Code // CodeOK: it is not refused any more
	Message string        // why, in a sentence
}

// News is what a published commit tells the feed.
type News struct {
	Seq      uint64
	Changes  []Change
	Blind    bool // changes are not all of them
	Bookmark view.Bookmark
	Tip      clock.Hash // of the record at Bookmark.At; zero if it is not at hand
}

// Of says which operation the change is about.
func (c *Change) Of(op *payload.Op) {
	c.Coll, c.IDKey, c.ID, c.Verdict.Kind = op.Coll, op.Key, op.ID, op.Kind.String()
}

// An OpSet is a set of kinds of changes.
type OpSet uint8

// The first four are changes of a document, the others of a verdict or of a key of a
// unique index. A change has one, criteria any of them.
const (
	OpInsert OpSet = 1 << iota
	OpUpdate
	OpReplace
	OpDelete
	OpRefused
	OpCleared
	OpConflict
	OpResolved
	OpDocs  = OpInsert | OpUpdate | OpReplace | OpDelete
	OpOther = OpRefused | OpCleared | OpConflict | OpResolved
)

// OpOf is what happened to a document that was there, or not, and is now.
func OpOf(replaced, was, is bool) OpSet {
	switch {
	case !is:
		return OpDelete
	case !was:
		return OpInsert
	case replaced:
		return OpReplace
	}
	return OpUpdate
}

// OpNames gives each kind its name in change documents and options.
var OpNames = map[OpSet]string{
	OpInsert: "insert", OpUpdate: "update", OpReplace: "replace", OpDelete: "delete", OpRefused: "refused", OpCleared: "cleared",
	OpConflict: "conflict", OpResolved: "resolved",
}

// ParseOps reads the names of kinds; none means all changes of documents.
func ParseOps(names []string) (set OpSet, err error) {
	if len(names) == 0 {
		return OpDocs, nil
	}
next:
	for _, n := range names {
		for op, name := range OpNames {
			if n == name {
				set |= op
				continue next
			}
		}
		return 0, fault.Errorf(fault.BadValue, "there is no kind of change %q", n)
	}
	return set, nil
}

// MaxQueued bounds the bytes of changes that wait for subscribers, of all
// together; whoever has not taken what is dropped goes on from the journal.
const MaxQueued = 4 << 20

// MaxEvents bounds the changes of one commit that are kept.
const MaxEvents = 10_000
