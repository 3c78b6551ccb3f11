package expr

import (
	"bytes"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/pattern"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// maxCached bounds the regular expressions, and the time zones, that an Env
// keeps, and maxCachedLen the length of their patterns.
const (
	maxCached    = 64
	maxCachedLen = 1 << 10
)

// maxSearches bounds the ticks of all searches of a $regexFindAll that nobody but the
// caller waits for.
const maxSearches = 1 << 30

// A regex is a regular expression and how many states its match may hold at a time.
type regex struct {
	*regexp.Regexp
	states int
}

// cost returns the ticks that one search through n bytes takes at most.
func (r *regex) cost(n int) int { return 1 + n*r.states>>4 }

// regex compiles a pattern with the options i, m, s and x for RE2, which runs
// in linear time.
func (e *Env) regex(op, p, options string) (*regex, error) {
	// The cost is the same whether or not it was compiled before.
	if err := e.spend(100 + len(p)); err != nil {
		return nil, err
	}
	key := options + "/" + p
	if re := e.regexes[key]; re != nil {
		return re, nil
	}
	pat, err := pattern.Read(op, p, options)
	if err != nil {
		return nil, err
	}
	compiled, err := pat.Compile()
	if err != nil {
		return nil, fault.Errorf(fault.InvalidRegex, "Invalid Regex in %s (RE2 syntax; no look-around, back-references, possessive or atomic groups): %v", op, err)
	}
	re := &regex{compiled, pat.States}
	if len(key) > maxCachedLen {
		return re, nil
	}
	if len(e.regexes) >= maxCached || e.regexes == nil {
		e.regexes = map[string]*regex{}
	}
	e.regexes[key] = re
	return re, nil
}

// A finding is what an operator makes of a regular expression: re is nil if an
// argument is null.
type finding func(e *Env, op string, re *regex, s []byte) (value.Value, error)

// The cost of a search is counted before it is made: states times bytes, in sixteenths of a tick.
// regexForm makes the three operators. The options may stand with the pattern or beside it, not both.
//
//	{$regexMatch: {input: "Line", regex: "^l", options: "i"}}     true
//	{$regexMatch: {input: null, regex: "x"}}                      false
func regexForm(f finding) form {
	return namedForm(2, func(e *Env, op string, args []value.Value) (value.Value, error) {
		input, re, options := args[0], args[1], args[2]
		if !nullish(input) && input.Type != bson.TypeString {
			return nullValue, fault.Errorf(fault.TypeMismatch, "%s needs 'input' to be of type string, not %s", op, typeName(input))
		}
		if !nullish(options) && options.Type != bson.TypeString {
			return nullValue, fault.Errorf(fault.TypeMismatch, "%s needs 'options' to be of type string, not %s", op, typeName(options))
		}
		var pattern, opts string
		switch {
		case nullish(re):
		case re.Type == bson.TypeRegex:
			pattern, opts = re.Regex()
			if opts != "" && !nullish(options) {
				return nullValue, fault.Errorf(fault.FailedToParse, "%s found regex option(s) specified in both 'regex' and 'options' fields", op)
			}
		case re.Type == bson.TypeString:
			pattern = string(re.Str())
		default:
			return nullValue, fault.Errorf(fault.TypeMismatch, "%s needs 'regex' to be of type string or regex, not %s", op, typeName(re))
		}
		if strings.IndexByte(pattern, 0) >= 0 {
			return nullValue, fault.Errorf(fault.InvalidRegex, "%s: regular expression cannot contain an embedded null byte", op)
		}
		if nullish(input) || nullish(re) {
			return f(e, op, nil, nil)
		}
		x, err := e.regex(op, pattern, opts+string(options.Str()))
		if err != nil {
			return nullValue, err
		}
		if err := e.spend(x.cost(len(input.Str()))); err != nil {
			return nullValue, err
		}
		return f(e, op, x, input.Str())
	}, "input", "regex", "options")
}

func regexMatch(_ *Env, _ string, re *regex, s []byte) (value.Value, error) {
	return boolean(re != nil && re.Match(s)), nil
}

// regexFind is $regexFind: the first match, or null. A group that has no part in the match is null.
//
//	{$regexFind: {input: "éab", regex: "(a)(x)?"}}     {match: "a", idx: 1, captures: ["a", null]}
//	{$regexFind: {input: "b", regex: "a"}}             null
func regexFind(e *Env, op string, re *regex, s []byte) (value.Value, error) {
	if re == nil {
		return nullValue, nil
	}
	at := re.FindSubmatchIndex(s)
	if at == nil {
		return nullValue, nil
	}
	return e.match(op, s, at, utf8.RuneCount(s[:at[0]]))
}

// regexFindAll is $regexFindAll: the matches from left to right, none of which overlap.
//
//	{$regexFindAll: {input: "aaa", regex: "aa"}}     [{match: "aa", idx: 0, captures: []}]
//	{$regexFindAll: {input: null, regex: "a"}}       []
func regexFindAll(e *Env, op string, re *regex, s []byte) (value.Value, error) {
	out := e.array(op)
	if re == nil {
		return out.value()
	}
	// As many matches as there is room for, and time: a search for one may look at all
	// that is left of the text, as for x*y|x in many x.
	room := (maxBuilt - min(e.built, maxBuilt)) / (64 + 16*re.NumSubexp())
	time := maxSearches
	if e.Meter != nil {
		time = max(0, maxTicks-e.less-e.ticks)
	}
	each := re.cost(len(s))
	time /= each
	all := re.FindAllSubmatchIndex(s, min(room, time)+1)
	if len(all) > time {
		e.charge(maxTicks)
		return nullValue, fault.Errorf(fault.ExceededMemoryLimit, "%s takes too long: the pattern has more than %d matches in %d bytes", op, time, len(s))
	}
	if e.Meter != nil {
		e.charge(len(all) * each)
	}
	done, points := 0, 0
	for _, at := range all {
		points += utf8.RuneCount(s[done:at[0]])
		done = at[0]
		v, err := e.match(op, s, at, points)
		if err != nil {
			return nullValue, err
		}
		if !out.add(v) {
			break
		}
	}
	return out.value()
}

// match builds {match, idx, captures}; idx counts code points.
func (e *Env) match(op string, s []byte, at []int, points int) (value.Value, error) {
	captures := e.array(op)
	for i := 2; i < len(at); i += 2 {
		v := nullValue
		if at[i] >= 0 {
			var err error
			if v, err = e.text(op, s[at[i]:at[i+1]]); err != nil {
				return v, err
			}
		}
		captures.add(v)
	}
	list, err := captures.value()
	if err != nil {
		return list, err
	}
	whole, err := e.text(op, bytes.Clone(s[at[0]:at[1]]))
	if err != nil {
		return whole, err
	}
	out := e.document(op)
	out.set([]byte("match"), whole)
	out.set([]byte("idx"), e.count(points))
	out.set([]byte("captures"), list)
	return out.value()
}
