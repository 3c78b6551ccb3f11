// Package pattern reads regular expressions as MongoDB writes them, for RE2, which runs in
// linear time, and says what one costs before it is compiled: filters and expressions with
// them are judged by every replica, on any document.
package pattern

import (
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/weftdb/weft/internal/fault"
)

const (
	// MaxBytes is MongoDB's bound on a pattern.
	MaxBytes = 32764
	// MaxStates bounds the states that a match may hold at a time: its time is at
	// most this times the length of the text.
	MaxStates = 2000
)

// A Pattern is a regular expression of bounded cost that is to be compiled.
type Pattern struct {
	Text   string // without what option x ignores
	States int    // that a match may hold at a time
	flags  string
}

// Read reads a pattern with the options i, m, s, x and u, and refuses one that would be
// slow; who says in an error what asks. An invalid pattern passes: Compile fails.
func Read(who, text, options string) (Pattern, error) {
	p := Pattern{Text: text}
	for _, o := range options {
		switch {
		case strings.ContainsRune("ims", o):
			p.flags += string(o)
		case o == 'x':
			p.Text = Unspaced(p.Text)
		case o != 'u':
			return p, fault.Errorf(fault.BadValue, "%s: invalid flag in regex options: %c", who, o)
		}
	}
	if len(p.Text) > MaxBytes {
		return p, fault.Errorf(fault.InvalidRegex, "%s: pattern of %d bytes is larger than %d", who, len(p.Text), MaxBytes)
	}
	if p.States = States(p.Text); p.States > MaxStates {
		return p, fault.Errorf(fault.InvalidRegex, "%s: pattern is too costly: more than %d states", who, MaxStates)
	}
	return p, nil
}

// Compile compiles the pattern with its options. What RE2 lacks is an error.
func (p Pattern) Compile() (*regexp.Regexp, error) {
	if p.flags == "" {
		return regexp.Compile(p.Text)
	}
	return regexp.Compile("(?" + p.flags + ")" + p.Text)
}

// States counts the characters and classes of a pattern with its repetitions written
// out. Of one that does not parse it is 0: its compilation fails.
func States(pattern string) int {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0
	}
	return states(re)
}

func states(re *syntax.Regexp) int {
	n := 1
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, sub := range re.Sub {
		n = min(n+states(sub), 1<<30)
	}
	if re.Op == syntax.OpRepeat {
		n = min(n*max(re.Min, re.Max, 1), 1<<30)
	}
	return n
}

// Unspaced removes the white space and comments that option x ignores.
func Unspaced(p string) string {
	var b strings.Builder
	class := false
	for i := 0; i < len(p); i++ {
		c := p[i]
		switch {
		case c == '\\' && i+1 < len(p):
			b.WriteByte(c)
			i++
			b.WriteByte(p[i])
			continue
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '#':
			for i < len(p) && p[i] != '\n' {
				i++
			}
			continue
		case c == ' ' || c >= '\t' && c <= '\r':
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
