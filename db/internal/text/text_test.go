package text

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func analyzer(t testing.TB, name string) *Analyzer {
	a, ok := NewAnalyzer(name)
	if !ok {
		t.Fatalf("no language %s", name)
	}
	return a
}

func termsOf(a *Analyzer, s string, o Options) (out []string) {
	a.Terms(s, o, func(t string) bool {
		out = append(out, t)
		return true
	})
	return out
}

func TestTerms(t *testing.T) {
	for _, c := range []struct {
		language, text string
		o              Options
		want           []string
	}{
		{"english", "The runners were running, quickly!", Options{}, []string{"runner", "run", "quick"}},
		{"english", "Cafés & naïve e-mail 3.5kg", Options{}, []string{"cafe", "naiv", "e", "mail", "3.5kg"}},
		{"english", "Cafés", Options{Diacritics: true}, []string{"café"}},
		{"english", "Cafés", Options{Case: true}, []string{"Cafe"}},
		{"none", "The runners", Options{}, []string{"the", "runners"}},
		{"german", "Die Häuser am Straßenrand", Options{}, []string{"die", "haus", "am", "strassenrand"}},
		{"fr", "Élèves et la répétition", Options{}, []string{"elev", "repetit"}},
		{"russian", "бегущий", Options{}, []string{"бегущ"}},
		{"english", "東京 タワー", Options{}, []string{"東", "京", "タワー"}},
		{"english", "", Options{}, nil},
	} {
		if got := termsOf(analyzer(t, c.language), c.text, c.o); !slices.Equal(got, c.want) {
			t.Errorf("%s %q: got %q, want %q", c.language, c.text, got, c.want)
		}
	}
	if _, ok := NewAnalyzer("klingon"); ok {
		t.Error("klingon is known")
	}
}

func TestScore(t *testing.T) {
	q, err := Parse(analyzer(t, "english"), "coffee", Options{})
	if err != nil {
		t.Fatal(err)
	}
	last := 0.0
	for _, f := range [][]Field{
		{{"coffee, tea, milk, water", 1}},
		{{"coffee tea", 1}},
		{{"coffee coffee tea", 1}},
		{{"coffee", 2}},
		{{"coffee", 2}, {"coffee", 1}},
	} {
		s, ok := q.Match(f)
		if !ok || s <= last {
			t.Errorf("%v: got %v, %v, want more than %v", f, s, ok, last)
		}
		last = s
	}
	if _, err := Parse(analyzer(t, "english"), strings.Repeat("x", maxSearch+1), Options{}); err == nil {
		t.Error("a long search is taken")
	}
}

// A sum of doubles depends on its order: a text has one score.
func TestScoreIsOne(t *testing.T) {
	const words = "alpha bravo charlie delta echo foxtrot golf hotel"
	q, err := Parse(analyzer(t, "english"), words, Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := []Field{{words + " alpha alpha bravo delta delta delta echo golf golf golf golf", 3}, {"hotel golf golf tango", 7}}
	first, _ := q.Match(f)
	for range 200 {
		if s, _ := q.Match(f); s != first {
			t.Fatalf("got %v, then %v", first, s)
		}
	}
}

// FuzzText: no text and no language makes the analyzer fail, terms are short
// and valid, and a text has the terms of its words however they are written.
func FuzzText(f *testing.F) {
	f.Add("Running in the PARK", uint8(0))
	f.Add("İstanbul'da ışık Ǆ ŉ", uint8(15))
	f.Add("\xff\xfe bad", uint8(3))
	var names []string
	for n := range languages {
		names = append(names, n)
	}
	slices.Sort(names)
	f.Fuzz(func(t *testing.T, s string, l uint8) {
		a := analyzer(t, names[int(l)%len(names)])
		for _, o := range []Options{{}, {Case: true}, {Diacritics: true}, {Case: true, Diacritics: true}} {
			for _, term := range termsOf(a, s, o) {
				if len(term) > maxTerm || term == "" || utf8.ValidString(s) && !utf8.ValidString(term) {
					t.Fatalf("term %q of %q", term, s)
				}
			}
			if q, err := Parse(a, s, o); err == nil {
				q.Match([]Field{{s, 1}})
				q.Terms()
			}
		}
	})
}
