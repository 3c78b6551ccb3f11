// Package schema tests BSON documents by JSON Schema, draft 2020-12 or
// draft-07, without decoding them.
//
//	text ── Compile ── Schema ── Check(document) ── *Misfit
//
// A library parses schemas and resolves their references; what it gives becomes
// a graph of nodes that is evaluated on the encoded document, in the order of
// the document and with a budget of ticks, so that the outcome and the words of
// a misfit are the same everywhere. How BSON looks as JSON: docs/design/rules.md.
package schema

import (
	"errors"
	"fmt"
	"slices"

	"github.com/weftdb/weft/db/internal/value"
)

// The limits of a schema and of one check. They are constants of the protocol, because they
// decide what is refused. The bounds on the text are looked at once, when a schema is set;
// the budget and the stack on every check.
const (
	MaxText    = 64 << 10 // bytes
	maxNodes   = 4000     // JSON values in the text
	maxNesting = 64       // of the text
	maxPattern = 1 << 10  // bytes of a regular expression
	maxProgram = 5000     // instructions of one, about
	maxBudget  = 4 << 20  // ticks of one check, of about 100 ns
	maxStack   = 1000     // subschemas within one another, over one document
)

// Options tunes Compile.
type Options struct {
	// Formats makes `format` an assertion; without it, it is an annotation.
	Formats bool
	// Documents are what references beyond the schema may name, by address;
	// others are refused. It is for tests.
	Documents map[string][]byte
}

// A Schema tests documents. It is immutable and safe for concurrent use. Its size is
// bounded by that of its text; whoever checks often keeps it compiled.
type Schema struct{ root *node }

// A Misfit is the first thing about a document that a schema refuses.
type Misfit struct {
	Path    string // dotted, "" for the document itself
	Keyword string // of the schema, as "maximum"
	Why     string
}

// Error names the path and the keyword, which "missing required field" says already.
func (m *Misfit) Error() string {
	text := m.Why
	if m.Path != "" {
		text = fmt.Sprintf("field %q: %s", m.Path, m.Why)
	}
	if m.Keyword != "required" {
		text += " (" + m.Keyword + ")"
	}
	return text
}

var (
	errBudget = errors.New("the schema takes more work for this document than is allowed")
	errStack  = errors.New("the schema refers to itself without end")
)

// AllowsField reports whether a document may have a top-level field of that name, as far
// as the schema's own additionalProperties and properties tell.
func (s *Schema) AllowsField(name string) bool {
	n := s.root
	if n.more == nil || !n.more.never || n.props[name] != nil {
		return true
	}
	return slices.ContainsFunc(n.globs, func(g glob) bool { return g.pattern.Match([]byte(name)) })
}

// Check returns nil if the document fits, a *[Misfit] if it does not, or an
// error that says that the check takes too long, which refuses it, too.
func (s *Schema) Check(doc []byte) error { return s.CheckWithin(doc, nil) }

// CheckWithin is Check that does no more than m allows; more refuses the document.
func (s *Schema) CheckWithin(doc []byte, m *value.Meter) error {
	return s.check(value.Doc(doc), m)
}

// check runs within the least of the budget and what m has left, and takes from m what it
// took. Where m was the reason to stop, m is exhausted: the operation has used up its share
// of work.
func (s *Schema) check(v value.Value, m *value.Meter) error {
	most := m.Ticks(maxBudget)
	r := run{budget: most}
	fits := r.eval(s.root, v, nil)
	if r.budget < 0 && most < maxBudget {
		m.Exhaust()
	} else {
		m.Spend((most - max(r.budget, 0)) * value.MeterTick)
	}
	if fits {
		return nil
	}
	if r.err != nil {
		return r.err
	}
	return &r.fail
}
