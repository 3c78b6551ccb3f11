package keyspace

import (
	"fmt"

	"github.com/weftdb/weft/internal/fault"
)

// A Code is a Reason as it is stored and hashed; 0 is an accepted operation.
type Code byte

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
)

var Reasons = [...]fault.Kind{
	"", fault.Malformed, fault.Duplicate, fault.NoMatch, fault.Schema, fault.Update, fault.Reserved, fault.Definition, fault.Atomic,
	fault.TooLarge, fault.Rule,
}

func (c Code) Reason() fault.Kind {
	if int(c) < len(Reasons) {
		return Reasons[c]
	}
	return fault.Kind(fmt.Sprintf("code_%d", c))
}
