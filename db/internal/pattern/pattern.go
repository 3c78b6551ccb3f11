// Package pattern says what a regular expression costs before it is compiled: filters and
// expressions with them are judged by every replica, on any document.
package pattern

import (
	"regexp/syntax"
	"strings"
)

const (
	// MaxBytes is MongoDB's bound on a pattern.
	MaxBytes = 32764
	// MaxStates bounds the states that a match may hold at a time: its time is at
	// most this times the length of the text.
	MaxStates = 2000
)

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
