package text

import (
	"slices"
	"strings"

	"github.com/weftdb/weft/internal/fault"
)

const (
	maxSearch = 4 << 10 // bytes of a search
	maxWords  = 128     // terms and phrases of a search
)

// A Search is a parsed search: `coffee "flat white" -decaf -"iced tea"`. It finds the texts
// with any of the terms, all of the phrases, and nothing of what is negated. It is safe for
// concurrent use. words and terms differ with the options: an index holds folded terms
// only, so that it is asked for those, and what tells case or marks apart is tested on the
// texts.
type Search struct {
	a          *Analyzer
	o          Options
	words      []string // that Terms of the index's own options are made of
	terms      map[string]bool
	not        map[string]bool
	phrases    []string // folded
	notPhrases []string
}

// A Field is a text of a document, and what its terms weigh.
type Field struct {
	Text   string
	Weight float64
}

// Parse parses a search. One that is too long or has too many words is an error. A word
// ends at a space or a quote, a phrase at the next quote or at the end. "-" negates what it
// stands before; within a word, as in e-mail, it does not.
func Parse(a *Analyzer, s string, o Options) (*Search, error) {
	if len(s) > maxSearch {
		return nil, fault.Errorf(fault.BadValue, "$search has %d bytes, more than %d", len(s), maxSearch)
	}
	q := &Search{a: a, o: o, terms: map[string]bool{}, not: map[string]bool{}}
	for rest := strings.TrimSpace(s); rest != ""; rest = strings.TrimSpace(rest) {
		negated := len(rest) > 1 && rest[0] == '-' && rest[1] != ' '
		if negated {
			rest = rest[1:]
		}
		var word string
		phrase := rest[0] == '"'
		if phrase {
			end := strings.IndexByte(rest[1:], '"')
			if end < 0 {
				word, rest = rest[1:], ""
			} else {
				word, rest = rest[1:1+end], rest[2+end:]
			}
		} else {
			end := strings.IndexAny(rest, " \t\r\n\v\f\"")
			if end < 0 {
				end = len(rest)
			}
			word, rest = rest[:end], rest[end:]
		}
		q.add(word, phrase, negated)
		if len(q.terms)+len(q.not)+len(q.phrases)+len(q.notPhrases) > maxWords {
			return nil, fault.Errorf(fault.BadValue, "$search has more than %d words", maxWords)
		}
	}
	return q, nil
}

// The words of a phrase are terms, too: they are what an index can find it by, and they
// count in the score. A negated phrase excludes texts that have it, and none that have its
// words.
func (q *Search) add(word string, phrase, negated bool) {
	if phrase {
		f := Fold(word, q.o)
		if strings.TrimSpace(f) == "" {
			return
		}
		if negated {
			q.notPhrases = append(q.notPhrases, f)
			return
		}
		q.phrases = append(q.phrases, f)
	}
	into := q.terms
	if negated {
		into = q.not
	} else {
		q.words = append(q.words, word)
	}
	q.a.Terms(word, q.o, func(t string) bool {
		into[t] = true
		return true
	})
}

// Terms returns the terms of which a text that matches has at least one, as an
// index holds them, ascending.
func (q *Search) Terms() []string {
	var out []string
	for _, w := range q.words {
		q.a.Terms(w, Options{}, func(t string) bool {
			out = append(out, t)
			return true
		})
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Match reports whether the texts of a document match, and how well: the sum of the terms'
// frequencies in each text, over its length, times its weight. A phrase is looked for in
// each text by itself, as a part of the folded text. A text without any of the terms has no
// score, whatever phrases it has.
func (q *Search) Match(fields []Field) (score float64, ok bool) {
	found := make([]bool, len(q.phrases))
	for _, f := range fields {
		if len(q.phrases)+len(q.notPhrases) > 0 {
			folded := Fold(f.Text, q.o)
			for i, p := range q.phrases {
				found[i] = found[i] || strings.Contains(folded, p)
			}
			for _, p := range q.notPhrases {
				if strings.Contains(folded, p) {
					return 0, false
				}
			}
		}
		s, good := q.scoreField(f)
		if !good {
			return 0, false
		}
		score += s
	}
	return score, score > 0 && !slices.Contains(found, false)
}

// scoreField returns what one text adds; false if it has a negated term. The first
// occurrence of a term counts 1, each further one half of the one before. The formula is
// MongoDB's:
//
//	frequency · (½ + ½ · occurrences ⁄ terms of the text) · weight
//
// and a tenth more if the term is the whole text. The terms are added in the order in which
// they first occur, and the conversions keep machines from fusing operations: equal texts
// have equal scores, to the last bit.
func (q *Search) scoreField(f Field) (score float64, ok bool) {
	type hits struct {
		term       string
		freq, next float64
		count      int
	}
	var of map[string]*hits
	var all []*hits
	total, good := 0, true
	q.a.Terms(f.Text, q.o, func(t string) bool {
		total++
		if q.not[t] {
			good = false
			return false
		}
		if q.terms[t] {
			if of == nil {
				of = map[string]*hits{}
			}
			h := of[t]
			if h == nil {
				h = &hits{term: t, next: 1}
				of[t], all = h, append(all, h)
			}
			h.freq, h.next, h.count = h.freq+h.next, h.next/2, h.count+1
		}
		return true
	})
	whole := Fold(strings.TrimSpace(f.Text), q.o)
	for _, h := range all {
		s := h.freq * (0.5 + 0.5*float64(h.count)/float64(total))
		if h.term == whole {
			s *= 1.1
		}
		score += float64(s)
	}
	return float64(score * f.Weight), good
}
