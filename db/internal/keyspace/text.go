package keyspace

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/text"
	"github.com/weftdb/weft/db/internal/value"
)

// A textAnalyzer makes the entries of a text index.
type textAnalyzer struct{ *text.Analyzer }

func knownLanguage(name string) bool {
	_, ok := text.NewAnalyzer(name)
	return ok
}

func newTextAnalyzer(language string) *textAnalyzer {
	a, ok := text.NewAnalyzer(language)
	if !ok {
		a, _ = text.NewAnalyzer("none")
	}
	return &textAnalyzer{a}
}

// Fields returns the texts of doc that ix indexes, with their weights.
func (ix *Index) Fields(doc []byte) (out []text.Field) {
	var vals []value.Value
	for i, p := range ix.paths {
		vals, _ = p.IndexValues(vals[:0], doc)
		for _, v := range vals {
			if s := v.Str(); len(s) > 0 && v.Type == bson.TypeString {
				out = append(out, text.Field{Text: string(s), Weight: float64(max(1, ix.Keys[i].Weight))})
			}
		}
	}
	return out
}

// terms returns the distinct terms of doc, at most one more than an index holds.
func (a *textAnalyzer) terms(ix *Index, doc []byte) (out []string) {
	seen := map[string]bool{}
	for _, f := range ix.Fields(doc) {
		a.Terms(f.Text, text.Options{}, func(t string) bool {
			if !seen[t] {
				seen[t] = true
				out = append(out, t)
			}
			return len(out) <= maxTerms
		})
	}
	return out
}

// AppendTerm appends the index key of a term.
func AppendTerm(dst []byte, term string) []byte {
	return value.AppendKey(dst, value.String(term), false)
}
