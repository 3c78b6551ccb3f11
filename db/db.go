// Package db is the document database: collections of BSON documents whose
// state is the fold of operations in stamp order. It merges records and knows
// no sockets.
//
//	DB ── Collection ── Document        what callers see
//	 └─── Transaction ── Operation      what replicas exchange, by a Journal
//
// A document's state is what its operations give when applied in stamp order;
// nothing else defines it. An operation that is refused at its place is a no-op
// with a recorded reason. The rules, the formats and the keys in the store:
// docs/design/db.md.
package db

import (
	"github.com/weftdb/weft/internal/clock"
)

// Info describes a database at one moment.
type Info struct {
	Arrival     int64      // the arrival up to which it is folded
	Hash        clock.Hash // the state hash
	Documents   int64      // documents of all collections but system collections
	Collections int        // collections that have a definition
	Refused     int64      // refused operations
	Conflicts   int64      // keys of unique indexes that several documents have; see DB.Conflicts
	Building    int        // indexes that do not cover all documents yet
	Refolds     int64      // documents re-folded since Open
}
