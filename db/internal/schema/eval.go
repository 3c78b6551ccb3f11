package schema

import (
	"fmt"
	"math/big"
	"strings"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// A run is one check. path is where the value at hand is, and scopes are the schema
// resources that evaluation came through, the outermost first, as dynamic references need
// them. The first failure is kept that is one of the whole document: within anyOf, oneOf,
// not and if a failure decides nothing alone, and quiet is above 0.
type run struct {
	budget int
	depth  int
	quiet  int // of evaluations whose failure is no failure of the whole
	scopes []*scope
	path   []string
	fail   Misfit
	failed bool
	err    error // budget or stack: nothing counts any more
}

// seen says which elements of one object or array were evaluated; nil if nobody asks. Only
// unevaluatedProperties and unevaluatedItems ask, of the node they stand in and all that it
// applies to the same value. Place i is the i-th element in the order of the document.
type seen []bool

func (s seen) add(o seen) {
	for i, b := range o {
		s[i] = s[i] || b
	}
}

// no notes why the value fails, the first time, and returns false, for its caller to
// return.
func (r *run) no(keyword, format string, args ...any) bool {
	if r.quiet == 0 && !r.failed {
		r.failed = true
		r.fail = Misfit{Path: strings.Join(r.path, "."), Keyword: keyword, Why: fmt.Sprintf(format, args...)}
	}
	return false
}

// spend takes n ticks from the budget. Once the budget is used up everything fails,
// whatever it would have been: the check is over.
func (r *run) spend(n int) bool {
	if r.budget -= n; r.budget < 0 && r.err == nil {
		r.err = errBudget
	}
	return r.err == nil
}

// quietly evaluates n where failing is no failure yet. An error of the budget is no such
// failure: spend keeps it in any case.
func (r *run) quietly(n *node, v value.Value, s seen) bool {
	r.quiet++
	defer func() { r.quiet-- }()
	return r.eval(n, v, s)
}

// child evaluates n on an element of the value. path is longer for the time of it. What is
// evaluated of the element says nothing about the value around it, hence no seen.
func (r *run) child(n *node, key string, v value.Value) bool {
	r.path = append(r.path, key)
	ok := r.eval(n, v, nil)
	r.path = r.path[:len(r.path)-1]
	return ok
}

// eval tests v by n. If s is not nil, what n evaluates of v is added to it; it counts only
// if n accepts. A reference that comes back to itself on the same value is found when the
// schema is compiled, if it does so always; maxStack ends the others.
func (r *run) eval(n *node, v value.Value, s seen) bool {
	if r.depth++; r.depth > maxStack && r.err == nil {
		r.err = errStack
	}
	defer func() { r.depth-- }()
	if !r.spend(1) {
		return false
	}
	switch {
	case n.pass:
		return true
	case n.never:
		return r.no("false", "nothing is allowed here")
	}
	r.scopes = append(r.scopes, n.scope)
	ok := r.test(n, v, s) && r.err == nil
	r.scopes = r.scopes[:len(r.scopes)-1]
	return ok
}

// test asks one keyword after the other, the cheap ones first. leftovers is the last since
// it needs to know what all others have evaluated. The kind is only found where a keyword
// asks for it: for a decimal it costs an exact fraction.
func (r *run) test(n *node, v value.Value, s seen) bool {
	var kind kinds
	if n.types != 0 || n.constant != nil || n.enum != nil || n.format != nil || n.numbers != nil || n.multipleOf != nil ||
		n.object || n.array || n.pattern != nil || n.text.set() {
		kind = kindOf(v)
	}
	if n.types != 0 && kind&n.types == 0 {
		return r.no("type", "must be of type %s", n.types)
	}
	if n.bsonTypes != 0 && !n.bsonTypes.has(v) {
		return r.no("bsonType", "it is of another BSON type")
	}
	if s == nil && (n.uneval != nil || n.unevalItems != nil) {
		s = newSeen(v)
	}
	if !r.values(n, v) || !r.scalars(n, v, kind) || !r.refs(n, v, s) {
		return false
	}
	switch {
	case kind == kindObject && n.object && !r.objects(n, v, s):
		return false
	case kind == kindArray && n.array && !r.arrays(n, v, s):
		return false
	}
	return r.combined(n, v, s) && r.leftovers(n, v, s)
}

// newSeen has a place for each element of v; nil if v has no elements.
func newSeen(v value.Value) seen {
	if !v.IsDoc() && !v.IsArray() {
		return nil
	}
	n := 0
	it := value.Elements(v.Data)
	for _, _, ok := it.Next(); ok; _, _, ok = it.Next() {
		n++
	}
	return make(seen, n)
}

// same evaluates n on v itself and takes over what it evaluated. What a schema that refuses
// v has evaluated does not count, so n gets a seen of its own, which is taken over if n
// accepts.
func (r *run) same(n *node, v value.Value, s seen, quiet bool) bool {
	var mine seen
	if s != nil {
		mine = make(seen, len(s))
		if !r.spend(len(s) / 16) {
			return false
		}
	}
	ok := false
	if quiet {
		ok = r.quietly(n, v, mine)
	} else {
		ok = r.eval(n, v, mine)
	}
	if ok && s != nil {
		s.add(mine)
	}
	return ok
}

// refs follows $ref and $dynamicRef. The latter means the anchor of that name in the
// outermost resource that evaluation came through and that has one: this is how a schema
// that extends another is asked in its place.
func (r *run) refs(n *node, v value.Value, s seen) bool {
	if n.ref != nil && !r.same(n.ref, v, s, false) {
		return false
	}
	if n.dynamic == nil {
		return true
	}
	to := n.dynamic.n
	if a := n.dynamic.anchor; a != "" {
		for _, sc := range r.scopes {
			if x := sc.anchors[a]; x != nil {
				to = x
				break
			}
		}
	}
	return r.same(to, v, s, false)
}

// values tests by const and enum. Values are equal as in JSON: 1 and 1.0, objects whatever
// the order of their fields.
func (r *run) values(n *node, v value.Value) bool {
	if n.constant == nil && n.enum == nil {
		return true
	}
	if !r.spend(len(v.Data) / 32) {
		return false
	}
	var buf [64]byte
	c := appendCanonical(buf[:0], v)
	if n.constant != nil && string(c) != *n.constant {
		return r.no("const", "it is not the one value allowed")
	}
	if _, ok := n.enum[string(c)]; n.enum != nil && !ok {
		return r.no("enum", "it is none of the values allowed")
	}
	return true
}

// A number that JSON does not have, of kind 0, is tested as a number: it is beyond every
// bound.
func (r *run) scalars(n *node, v value.Value, kind kinds) bool {
	switch {
	case n.numbers == nil && n.multipleOf == nil && n.pattern == nil && n.format == nil && !n.text.set():
		return true
	case kind&kindNumber != 0 || kind == 0:
		return r.number(n, v, kind)
	case kind == kindString:
		return r.texts(n, v)
	}
	return true
}

// Lengths are in code points. The ticks are for reading the text; a pattern costs its own.
func (r *run) texts(n *node, v value.Value) bool {
	t := text(v)
	if !r.spend(len(t) / 64) {
		return false
	}
	if n.text.set() {
		c := utf8.RuneCount(t)
		if c < n.text.low {
			return r.no("minLength", "has %d characters: at least %d are needed", c, n.text.low)
		}
		if n.text.high >= 0 && c > n.text.high {
			return r.no("maxLength", "has %d characters: at most %d are allowed", c, n.text.high)
		}
	}
	if n.pattern != nil && !r.match(n.pattern, t) {
		return r.no("pattern", "does not match the pattern %s", n.pattern)
	}
	if n.format != nil {
		if err := n.format.Validate(string(t)); err != nil {
			return r.no("format", "is not a valid %s", n.format.Name)
		}
	}
	return true
}

// match runs a pattern: a tick for 16 bytes and each of its instructions. One that cannot
// be paid for does not match, and ends the check.
func (r *run) match(p *pattern, t []byte) bool {
	return r.spend(len(t)*p.size/16) && p.Match(t)
}

// number tests by the bounds and by multipleOf, exactly: 0.3 is a multiple of 0.1, for a
// double counts as the decimal that it prints as.
func (r *run) number(n *node, v value.Value, kind kinds) bool {
	for i := range n.numbers {
		b := &n.numbers[i]
		if c := b.compare(v, kind); c == b.sign || b.strict && c == 0 || kind == 0 {
			return r.no(b.keyword, "is beyond the limit %s", b.than.RatString())
		}
	}
	if n.multipleOf == nil {
		return true
	}
	if kind == 0 {
		return r.no("multipleOf", "is not a multiple of %s", n.multipleOf.RatString())
	}
	if d := n.multipleOf; d.IsInt() && d.Num().IsInt64() && (v.Type == bson.TypeInt32 || v.Type == bson.TypeInt64) {
		if v.Int()%d.Num().Int64() == 0 {
			return true
		}
	} else if r.spend(8) && new(big.Rat).Quo(rat(v), d).IsInt() {
		return true
	}
	return r.no("multipleOf", "is not a multiple of %s", n.multipleOf.RatString())
}

// compare returns the sign of v minus the bound. A number that JSON does not have is
// neither less nor greater; number refuses it by its kind.
func (b *bound) compare(v value.Value, kind kinds) int {
	switch {
	case kind == 0:
		return 0
	case v.Type == bson.TypeDouble:
		// The shortest digits of two doubles compare as the doubles do.
		if f := v.Float(); f < b.near {
			return -1
		} else if f > b.near {
			return 1
		}
	case v.Type != bson.TypeDecimal128 && b.isWhole:
		if i := v.Int(); i < b.whole {
			return -1
		} else if i > b.whole {
			return 1
		}
		return 0
	}
	return rat(v).Cmp(b.than)
}

// combined tests by the keywords that hold schemas for the same value. anyOf stops at the
// first schema that fits, unless somebody asks what was evaluated: then all that fit count.
// oneOf stops at the second. What not has evaluated never counts.
func (r *run) combined(n *node, v value.Value, s seen) bool {
	for _, c := range n.all {
		if !r.same(c, v, s, false) {
			return false
		}
	}
	if len(n.any) > 0 {
		ok := false
		for _, c := range n.any {
			if r.same(c, v, s, true) {
				if ok = true; s == nil {
					break
				}
			}
		}
		if !ok {
			return r.no("anyOf", "it fits none of the schemas of anyOf")
		}
	}
	if len(n.one) > 0 {
		fits := 0
		for _, c := range n.one {
			if r.same(c, v, s, true) {
				if fits++; fits > 1 {
					break
				}
			}
		}
		if fits != 1 {
			return r.no("oneOf", "it must fit exactly one of the schemas of oneOf")
		}
	}
	if n.not != nil && r.quietly(n.not, v, nil) {
		return r.no("not", "it fits what it must not fit")
	}
	if n.cond == nil {
		return true
	}
	if r.same(n.cond, v, s, true) {
		return n.then == nil || r.same(n.then, v, s, false)
	}
	return n.els == nil || r.same(n.els, v, s, false)
}

// leftovers tests what nothing before has evaluated. It tests the elements that s does
// not have, in the order of the document, and then s has them.
func (r *run) leftovers(n *node, v value.Value, s seen) bool {
	sub, keyword := n.unevalItems, "unevaluatedItems"
	if v.IsDoc() {
		sub, keyword = n.uneval, "unevaluatedProperties"
	}
	if sub == nil || s == nil {
		return true
	}
	it := value.Elements(v.Data)
	for i := 0; i < len(s); i++ {
		k, e, _ := it.Next()
		if s[i] {
			continue
		}
		if sub.never {
			return r.no(keyword, "field %q is not allowed", k)
		}
		if !r.child(sub, string(k), e) {
			return false
		}
		s[i] = true
	}
	return true
}

// String names the types.
func (k kinds) String() string {
	var out []string
	for _, s := range []string{"null", "boolean", "integer", "number", "string", "array", "object"} {
		if k&kindNames[s] != 0 {
			out = append(out, s)
		}
	}
	return strings.Join(out, " or ")
}

// within tests a count by bounds. low and high are the names of the keywords.
func (r *run) within(b bounds, count int, low, high string) bool {
	if count < b.low {
		return r.no(low, "has %d items: at least %d are needed", count, b.low)
	}
	if b.high >= 0 && count > b.high {
		return r.no(high, "has %d items: at most %d are allowed", count, b.high)
	}
	return true
}
