package db

import (
	"context"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// errReadRule ends a live query whose collection has another read rule now.
var errReadRule = fault.New(fault.Conflict, "the read rule of the collection was changed; run the live query again")

// Eyes decide what the reader who opened a watch, a live query or a list of
// refusals is shown of a collection. Every document that these hand out passes
// them.
type eyes struct {
	db  *DB
	ctx context.Context //nolint:containedctx // it says who reads, and bounds nothing
}

func (db *DB) eyes(ctx context.Context) eyes { return eyes{db, context.WithoutCancel(ctx)} }

// sight returns what the reader is shown of a collection, by the rule in v.
func (e eyes) sight(v *view, coll string) (*sight, error) { return v.sight(e.ctx, e.db, coll) }

// reader tells readers apart for whom a collection has a rule.
func (s *sight) reader() string {
	if s == nil {
		return ""
	}
	return "\x00" + s.in.Identity + "\x00" + s.in.Role
}

// readRule returns the text of a definition's read rule, "" for none.
func readRule(doc []byte) string {
	if doc == nil {
		return ""
	}
	rules := value.Get(doc, "rules")
	if !rules.IsDoc() {
		return ""
	}
	return string(value.Get(rules.Data, "read").Str())
}
