package db

import (
	"slices"

	"github.com/weftdb/weft/db/internal/refused"
	"github.com/weftdb/weft/internal/fault"
)

// A Reason says why an operation was refused; a stable word.
type Reason = fault.Kind

// The reasons.
const (
	ReasonMalformed  = fault.Malformed    // the record's payload is not a transaction
	ReasonDuplicate  = fault.DuplicateKey // a document with the _id exists
	ReasonNoMatch    = fault.NoMatch      // no document matches the filter any more
	ReasonSchema     = fault.Schema       // the document would not fit the schema
	ReasonUpdate     = fault.Update       // the filter or update cannot be applied
	ReasonReserved   = fault.Reserved     // the document would set _mod
	ReasonDefinition = fault.Definition   // a definition that cannot be in force
	ReasonAtomic     = fault.Atomic       // another operation of the atomic transaction was refused
	ReasonTooLarge   = fault.TooLarge     // the document would be over its limit
	ReasonRule       = fault.Rule         // the write rule of the collection denies it
	ReasonTooCostly  = fault.TooCostly    // it takes more work than its record may cause
	ReasonRole       = fault.Role         // only an owner or an admin may define, or whom the define rule lets
	ReasonStale      = fault.Stale        // a definition: that of somebody senior holds
	ReasonUnseen     = fault.Unseen       // a definition: what it names has not arrived
	ReasonVoid       = fault.Void         // the record: its author was no member when it was written, as far as others know
)

// Reasons returns all reasons.
func Reasons() []Reason { return slices.Clone(refused.Reasons) }
