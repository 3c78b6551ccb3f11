package search

import (
	"encoding/binary"
	"math"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/plan"
	"github.com/weftdb/weft/db/internal/text"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A textQuery is a compiled $text.
type textQuery struct {
	ix     *keyspace.Index
	Search *text.Search // terms, phrases and negations
}

// NewTextQuery compiles {$search, $language, $caseSensitive, $diacriticSensitive}. The
// language is that of the index, if none is given. An error of a missing index comes last,
// after those of the query itself.
func NewTextQuery(c *keyspace.Coll, spec bson.Raw) (*textQuery, error) {
	var search string
	language := ""
	o := text.Options{}
	it := value.Elements(spec)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		var err error
		switch string(k) {
		case "$search":
			search, err = keyspace.StringOption("$search", v)
		case "$language":
			language, err = keyspace.StringOption("$language", v)
		case "$caseSensitive":
			o.Case, err = keyspace.BoolOption("$caseSensitive", v)
		case "$diacriticSensitive":
			o.Diacritics, err = keyspace.BoolOption("$diacriticSensitive", v)
		default:
			err = fault.Errorf(fault.BadValue, "$text has no option %q", k)
		}
		if err != nil {
			return nil, err
		}
	}
	if !value.Get(spec, "$search").Exists() {
		return nil, fault.Errorf(fault.BadValue, "$text needs a $search")
	}
	var a *text.Analyzer
	if language != "" {
		if a, _ = text.NewAnalyzer(language); a == nil {
			return nil, fault.Errorf(fault.BadValue, "$text: unsupported $language %q", language)
		}
	}
	ix, err := c.TextIndex()
	if ix != nil && a == nil {
		a = ix.Text.Analyzer
	}
	if a == nil {
		a, _ = text.NewAnalyzer("none")
	}
	s, perr := text.Parse(a, search, o)
	if perr != nil {
		return nil, perr
	}
	return &textQuery{ix: ix, Search: s}, err
}

// access is the documents with any of the terms; Match tells which of them have the phrases
// and none of the negated terms. A document with several terms is in as many ranges: what
// is found again is left out.
func (q *textQuery) access(v *view.View) *plan.Access {
	p := v.Space.Key(keyspace.TagIndex, keyspace.Num(q.ix.Num))
	var all []store.Range
	for _, t := range q.Search.Terms() {
		all = append(all, store.Prefix(v.Space.Key(keyspace.TagIndex, keyspace.Num(q.ix.Num), keyspace.AppendTerm(nil, t))))
	}
	return &plan.Access{Index: q.ix, Base: len(p), Streams: [][]store.Range{all}}
}

// Match reports whether doc matches, and its score.
func (q *textQuery) Match(doc []byte) (float64, bool) {
	return q.Search.Match(q.ix.Fields(doc))
}

// scoreField is the name under which a sort sees a document's score.
const scoreField = "_textScore"

// splitScoreSort replaces {name: {$meta: "textScore"}} in a sort by the field
// that withScore adds; the best comes first.
func splitScoreSort(sort bson.Raw) (bson.Raw, bool) {
	out, at := value.Begin(make([]byte, 0, len(sort)))
	found := false
	it := value.Elements(sort)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		if !found && v.IsDoc() && string(value.Get(v.Data, "$meta").Str()) == "textScore" {
			k, v, found = []byte(scoreField), value.Int32(-1), true
		}
		out = value.AppendElement(out, k, v)
	}
	return value.End(out, at), found
}

// withScore returns doc with its text score as a field, for the sort only.
func withScore(doc []byte, score float64) []byte {
	out := append(make([]byte, 0, len(doc)+len(scoreField)+10), doc[:len(doc)-1]...)
	out = value.AppendElement(out, []byte(scoreField), value.Value{
		Type: bson.TypeDouble, Data: binary.LittleEndian.AppendUint64(nil, math.Float64bits(score)),
	})
	return value.End(out, 0)
}
