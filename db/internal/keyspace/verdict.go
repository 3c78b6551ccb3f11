package keyspace

import (
	"fmt"

	"github.com/weftdb/weft/internal/fault"
)

// A Code is a Reason as it is stored and hashed; 0 is an accepted operation.
type Code byte

// The codes are stored and hashed: new ones go to the end, none changes its number.
// CodeOK is an accepted operation, the others are in the order of [Reasons].
const (
	CodeOK Code = iota
	CodeMalformed
	CodeDuplicate
	CodeNoMatch
	CodeSchema
	CodeUpdate
	CodeReserved
	CodeDefinition
	CodeAtomic
	CodeTooLarge
	CodeRule
	CodeTooCostly
	CodeRole
	CodeStale
	CodeUnseen
)

// Reasons gives each code its stable word.
var Reasons = [...]fault.Kind{
	"", fault.Malformed, fault.DuplicateKey, fault.NoMatch, fault.Schema, fault.Update, fault.Reserved, fault.Definition, fault.Atomic,
	fault.TooLarge, fault.Rule, fault.TooCostly, fault.Role,
	fault.Stale, fault.Unseen,
}

// Reason returns the word of c; a code of a later version has its number for one.
func (c Code) Reason() fault.Kind {
	if int(c) < len(Reasons) {
		return Reasons[c]
	}
	return fault.Kind(fmt.Sprintf("code_%d", c))
}

// HistoryValue is the value of an operation in a document's history, one byte: the verdict,
// above the bit that marks a part of an atomic transaction.
func HistoryValue(c Code, atomic bool) []byte {
	v := byte(c) << 1
	if atomic {
		v |= 1
	}
	return []byte{v}
}
