// Package query compiles MongoDB filters, sorts and projections and runs them
// on encoded documents, without decoding them.
//
//	Compile           ── Filter      Match, MatchAt, Conjuncts
//	CompileSort       ── Sort        Compare, Key
//	CompileProjection ── Projection  Apply
//
// Compiled values are immutable and safe for concurrent use. Errors are
// *value.Error with MongoDB's code. Decisions: docs/design/query.md.
package query

import (
	"github.com/weftdb/weft/db/internal/value"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Error is the error of this package.
type Error = value.Error

// A Filter is a compiled filter document.
type Filter struct{}

// Compile compiles a filter document. Unknown or ill-typed operators are
// errors that name the path and the operator.
func Compile(filter bson.Raw) (*Filter, error) { return &Filter{}, nil }

// Match reports whether doc matches. It does not allocate.
func (f *Filter) Match(doc []byte) bool { return true }

// MatchAt is Match that also returns the index of the array element that
// matched, for the positional operator; -1 if no array was involved.
func (f *Filter) MatchAt(doc []byte) (ok bool, pos int) { return true, -1 }

// Conjuncts returns the filter's conditions that all hold for a match.
func (f *Filter) Conjuncts() []Conjunct { return nil }

// An Op is the operator of a Conjunct.
type Op string

// The operators that a planner can use.
const (
	Eq     Op = "$eq"
	In     Op = "$in"
	Gt     Op = "$gt"
	Gte    Op = "$gte"
	Lt     Op = "$lt"
	Lte    Op = "$lte"
	Exists Op = "$exists" // the field exists
	Prefix Op = "$regex"  // a string that starts with Value
)

// A Conjunct is one condition of the filter's top-level conjunction. It is
// necessary, not sufficient: candidates still go through Match.
type Conjunct struct {
	Path   string
	Op     Op
	Value  value.Value   // unset for In and Exists
	Values []value.Value // for In: sorted, without duplicates
}

// A Sort is a compiled sort specification.
type Sort struct{}

// CompileSort compiles a sort specification such as {a: 1, "b.c": -1}.
func CompileSort(spec bson.Raw) (*Sort, error) { return &Sort{}, nil }

// Compare orders two documents: -1, 0 or 1.
func (s *Sort) Compare(a, b []byte) int { return 0 }

// Key appends doc's sort key to dst: keys compare by bytes as Compare does.
func (s *Sort) Key(dst, doc []byte) []byte { return dst }

// Fields returns the sort's fields in order.
func (s *Sort) Fields() []SortField { return nil }

// A SortField is one field of a sort.
type SortField struct {
	Path string
	Desc bool
}

// A Projection is a compiled projection.
type Projection struct{}

// CompileProjection compiles a projection; an empty one keeps whole documents.
func CompileProjection(spec bson.Raw) (*Projection, error) { return &Projection{}, nil }

// Apply appends the projected document to dst.
func (p *Projection) Apply(dst, doc []byte) []byte { return append(dst, doc...) }
