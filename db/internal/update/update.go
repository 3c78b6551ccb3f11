// Package update compiles MongoDB update documents and applies them to encoded
// documents. The same update, document and Context give the same bytes.
//
//	Compile ── Update ── Apply   operators, array filters, positional paths
//	                     Upsert  a new document from a filter and an update
//	Replace                      a whole-document replacement that keeps _id
//
// An Update is immutable and safe for concurrent use.
package update

import (
	"time"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Error is the error of this package.
type Error = value.Error

// A Context carries what the writer fixed for one application.
type Context struct {
	Now    time.Time     // for $currentDate; the writer's time, not this machine's
	Insert bool          // the document is being inserted by an upsert: $setOnInsert acts
	Filter *query.Filter // the filter that found the document, for the positional $; may be nil
}

// An Update is a compiled update document.
type Update struct{}

// IsReplacement reports whether the document is a replacement rather than
// update operators: its first key does not start with "$".
func IsReplacement(update bson.Raw) bool { return false }

// Compile compiles an update document of operators with its array filters.
func Compile(update bson.Raw, arrayFilters []bson.Raw) (*Update, error) { return &Update{}, nil }

// Apply applies u to doc. changed reports whether any byte differs; newDoc is
// doc itself if not. The result passes value.Validate if doc does.
func (u *Update) Apply(doc []byte, ctx Context) (newDoc []byte, changed bool, err error) {
	return doc, false, nil
}

// Upsert builds the document that an upsert inserts when filter matches
// nothing: the filter's equalities, then u with Insert set. _id comes first if
// the filter or u gives one; otherwise the caller adds it. u may be nil.
func (u *Update) Upsert(filter *query.Filter, ctx Context) ([]byte, error) { return nil, nil }

// Replace returns replacement with doc's _id in first place. A different _id
// in replacement is an ImmutableField error.
func Replace(doc, replacement []byte) (newDoc []byte, changed bool, err error) {
	return replacement, true, nil
}
