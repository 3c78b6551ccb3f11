package query

import (
	"errors"
	"math/big"
	"regexp"
	"regexp/syntax"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// compileRegex compiles a pattern with MongoDB's options i, m, s, x and u for
// RE2, which runs in linear time. What RE2 lacks is an error that says so.
func compileRegex(path, pattern, options string) (*regexLeaf, error) {
	flags := ""
	for _, o := range options {
		switch {
		case strings.ContainsRune("ims", o):
			flags += string(o)
		case o == 'x':
			pattern = stripExtended(pattern)
		case o != 'u':
			return nil, fault.Errorf(fault.BadValue, "%s: $regex: invalid flag in regex options: %c", path, o)
		}
	}
	states, err := checkCost(path, pattern)
	if err != nil {
		return nil, err
	}
	expr := pattern
	if flags != "" {
		expr = "(?" + flags + ")" + pattern
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		why := err.Error()
		if e := (*syntax.Error)(nil); errors.As(err, &e) {
			why = string(e.Code)
			if e.Expr != "" {
				why += ": " + e.Expr
			}
		}
		return nil, fault.Errorf(fault.InvalidRegex,
			"%s: $regex: Regular expression is invalid or unsupported (RE2 syntax; no look-around, back-references, possessive or atomic groups): %s", path, why)
	}
	raw := append(append([]byte(pattern), 0), options...)
	return &regexLeaf{re: re, states: states, raw: value.Value{Type: bson.TypeRegex, Data: append(raw, 0)}}, nil
}

const (
	// maxPattern is MongoDB's bound on a pattern, in bytes.
	maxPattern = 32764
	// maxCost bounds the states that a match may hold at a time: its time is at
	// most this times the length of the text.
	maxCost = 2000
)

// checkCost refuses patterns that would be slow: a filter is judged by every
// replica, on any document. It counts the states. An invalid pattern passes; its
// compilation fails.
func checkCost(path, pattern string) (states int, err error) {
	if len(pattern) > maxPattern {
		return 0, fault.Errorf(fault.InvalidRegex, "%s: $regex: pattern of %d bytes is larger than %d", path, len(pattern), maxPattern)
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0, nil
	}
	if states = cost(re); states > maxCost {
		return 0, fault.Errorf(fault.InvalidRegex, "%s: $regex: pattern is too costly: more than %d states", path, maxCost)
	}
	return states, nil
}

// maxCosts bounds the costs of a filter's patterns together.
const maxCosts = 10_000

// checkCosts refuses filters whose patterns would be slow together. It takes
// every $regex for a pattern: what is not one has no cost that matters.
func checkCosts(v value.Value) error {
	if n := costs(v); n > maxCosts {
		return errBad("$regex: the patterns of the filter are too costly: more than %d states together", maxCosts)
	}
	return nil
}

func costs(v value.Value) (n int) {
	if v.Type == bson.TypeRegex {
		pattern, options := v.Regex()
		return costOf(pattern, options)
	}
	if !v.IsDoc() && !v.IsArray() {
		return 0
	}
	it := value.Elements(v.Data)
	for k, e, ok := it.Next(); ok; k, e, ok = it.Next() {
		more := 0
		if string(k) == "$regex" && (e.Type == bson.TypeString || e.Type == bson.TypeRegex) {
			pattern, options := e.Regex()
			if e.Type == bson.TypeString {
				pattern = string(e.Str())
			}
			more = costOf(pattern, options+string(value.Get(v.Data, "$options").Str()))
		} else {
			more = costs(e)
		}
		n = min(n+more, 1<<30)
	}
	return n
}

func costOf(pattern, options string) int {
	if strings.Contains(options, "x") {
		pattern = stripExtended(pattern)
	}
	if len(pattern) > maxPattern {
		return 0 // refused
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0 // refused
	}
	return cost(re)
}

// cost counts the characters and classes of a pattern with its repetitions
// written out.
func cost(re *syntax.Regexp) int {
	n := 1
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, sub := range re.Sub {
		n = min(n+cost(sub), 1<<30)
	}
	if re.Op == syntax.OpRepeat {
		n = min(n*max(re.Min, re.Max, 1), 1<<30)
	}
	return n
}

// stripExtended removes the white space and comments that option x ignores.
func stripExtended(p string) string {
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

// literalPrefix returns the text that every match starts with, if the pattern
// is anchored and case counts.
func literalPrefix(pattern, options string) string {
	if strings.ContainsAny(options, "im") {
		return ""
	}
	if strings.Contains(options, "x") {
		pattern = stripExtended(pattern)
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil || re.Op != syntax.OpConcat || len(re.Sub) < 2 || re.Sub[0].Op != syntax.OpBeginText {
		return ""
	}
	if lit := re.Sub[1]; lit.Op == syntax.OpLiteral && lit.Flags&syntax.FoldCase == 0 {
		return string(lit.Rune)
	}
	return ""
}

func truncatedDecimal(d bson.Decimal128) (int64, bool) {
	m, exp, err := d.BigInt()
	if err != nil || d.IsNaN() || d.IsInf() != 0 || exp > 19 {
		return 0, false
	}
	if exp < -40 {
		return 0, true
	}
	p := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(exp, -exp))), nil)
	if exp < 0 {
		m = new(big.Int).Quo(m, p)
	} else {
		m = new(big.Int).Mul(m, p)
	}
	return m.Int64(), m.IsInt64()
}
