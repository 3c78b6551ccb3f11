// Package text splits text into the terms of text indexes and tests text
// searches: Unicode words (UAX #29), folded in case and diacritics, without the
// language's stop words, reduced to their stems.
//
//	Analyzer ── Terms            what an index holds of a text
//	Parse    ── Search           Match and Score on the texts of a document
//
// Everything is a function of its arguments. Decisions: docs/design/indexes.md.
package text

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/blevesearch/snowballstem"
	"github.com/clipperhouse/uax29/v2/words"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// maxTerm is how many bytes of a word count.
const maxTerm = 128

// Options say what a search tells apart. An index tells neither apart.
type Options struct {
	Case       bool // upper from lower case
	Diacritics bool // letters with marks from those without
}

// An Analyzer finds the terms of texts in one language. It is safe for
// concurrent use.
type Analyzer struct{ lang *language }

// NewAnalyzer returns the analyzer of a language, or false if it is not known:
// a name that MongoDB has, as "english", its two-letter code, or "none".
func NewAnalyzer(name string) (*Analyzer, bool) {
	l := languages[strings.ToLower(name)]
	if l == nil {
		return nil, false
	}
	return &Analyzer{lang: l}, true
}

// Terms calls f with each term of s, in order, until f returns false. A word goes through
// four steps: stop words are left out, which the lists have with their marks; case and
// marks are folded; the stem is taken; what is longer than maxTerm is clipped, so that a key
// of the index is bounded. "The runners were running" in English gives runner and run.
func (a *Analyzer) Terms(s string, o Options, f func(term string) bool) {
	env := snowballstem.NewEnv("")
	it := words.FromString(s)
	for it.Next() {
		w := it.Value()
		if !isWord(w) {
			continue
		}
		if a.lang.stop != nil && a.lang.stop(strings.ToLower(w)) {
			continue
		}
		w = Fold(clip(w), o)
		if a.lang.stem != nil {
			env.SetCurrent(w)
			a.lang.stem(env)
			if c := env.Current(); c != "" {
				w = c
			}
		}
		if !f(strings.Clone(clip(w))) {
			return
		}
	}
}

// isWord reports whether a segment is more than spaces and punctuation.
func isWord(s string) bool {
	for _, r := range s {
		if unicode.IsLetter(r) || unicode.IsNumber(r) {
			return true
		}
	}
	return false
}

// clip shortens a word to maxTerm bytes, between two characters.
func clip(s string) string {
	if len(s) <= maxTerm {
		return s
	}
	n := maxTerm
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Fold takes from s the differences that o does not tell apart. Marks are
// dropped from Latin and Greek letters only: in other scripts they make other
// letters.
func Fold(s string, o Options) string {
	if isASCII(s) {
		if o.Case {
			return s
		}
		return strings.ToLower(s)
	}
	if !o.Diacritics {
		s = stripMarks(s)
	}
	s = norm.NFC.String(s)
	if !o.Case {
		s = cases.Fold().String(s)
	}
	return s
}

// isASCII finds the texts that have no marks, which are most: folding them is one pass.
func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// stripMarks takes letters and marks apart and drops the marks of letters of these two
// scripts. What is left may be taken apart still: Fold puts it together.
func stripMarks(s string) string {
	var b strings.Builder
	strip := false
	for _, r := range norm.NFD.String(s) {
		if unicode.Is(unicode.Mn, r) {
			if strip {
				continue
			}
		} else {
			strip = unicode.In(r, unicode.Latin, unicode.Greek)
		}
		b.WriteRune(r)
	}
	return b.String()
}
