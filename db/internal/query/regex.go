package query

import (
	"errors"
	"math/big"
	"regexp/syntax"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/pattern"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// compileRegex compiles a pattern with MongoDB's options i, m, s, x and u for
// RE2, which runs in linear time. What RE2 lacks is an error that says so.
func compileRegex(path, p, options string) (*regexLeaf, error) {
	pat, err := pattern.Read(path+": $regex", p, options)
	if err != nil {
		return nil, err
	}
	re, err := pat.Compile()
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
	raw := append(append([]byte(pat.Text), 0), options...)
	return &regexLeaf{re: re, states: pat.States, raw: value.Value{Type: bson.TypeRegex, Data: append(raw, 0)}}, nil
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

// costs adds up the states of all patterns in a filter, wherever they stand.
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

func costOf(p, options string) int {
	if strings.Contains(options, "x") {
		p = pattern.Unspaced(p)
	}
	if len(p) > pattern.MaxBytes {
		return 0 // refused
	}
	return pattern.States(p)
}

// literalPrefix returns the text that every match starts with, if the pattern is anchored
// and case counts. /^Ja.*n/ gives "Ja": strings that match are in the key range of that
// prefix. With option i or m, or without the anchor, they may begin with anything.
func literalPrefix(p, options string) string {
	if strings.ContainsAny(options, "im") {
		return ""
	}
	if strings.Contains(options, "x") {
		p = pattern.Unspaced(p)
	}
	re, err := syntax.Parse(p, syntax.Perl)
	if err != nil || re.Op != syntax.OpConcat || len(re.Sub) < 2 || re.Sub[0].Op != syntax.OpBeginText {
		return ""
	}
	if lit := re.Sub[1]; lit.Op == syntax.OpLiteral && lit.Flags&syntax.FoldCase == 0 {
		return string(lit.Rune)
	}
	return ""
}

// Exponents beyond 19 are no int64 in any case, and below -40 nothing is left: big powers
// are never made.
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
