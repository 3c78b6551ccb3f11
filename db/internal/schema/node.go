package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// A node is one subschema. Keywords that are absent are nil, or bounds that are not set.
// constant and enum are in the form of appendCanonical, so that a value is compared by its
// text.
type node struct {
	location string
	scope    *scope

	pass, never bool // the schemas true and false

	types     kinds
	bsonTypes bsonTypes
	constant  *string             // canonical
	enum      map[string]struct{} // canonical
	format    *jsonschema.Format
	ref       *node
	dynamic   *dynamicRef
	all, any  []*node
	one       []*node
	not       *node
	cond      *node
	then, els *node

	object bool // it has keywords for objects, below
	props  map[string]*node
	globs  []glob
	more   *node // additionalProperties
	names  *node
	deps   []dependency
	needs  map[string]int // required, by place in want
	want   []string
	counts bounds
	uneval *node // unevaluatedProperties

	array        bool // it has keywords for arrays, below
	prefix       []*node
	items        *node
	contains     *node
	containCount bounds
	lengths      bounds
	unique       bool
	unevalItems  *node
	countsItems  bool // contains makes items evaluated, as in 2020-12

	text    bounds // of characters
	pattern *pattern

	numbers    []bound
	multipleOf *big.Rat
}

// bounds are a minimum and a maximum; the maximum is negative for none.
type bounds struct{ low, high int }

func (b bounds) set() bool { return b.low > 0 || b.high >= 0 }

// A bound is one of minimum, maximum, exclusiveMinimum and exclusiveMaximum. Most values
// are compared as doubles or integers, with near and whole; than is asked where these are
// equal or cannot tell.
type bound struct {
	keyword string
	than    *big.Rat
	near    float64 // the double next to than
	whole   int64   // than, if isWhole
	isWhole bool
	sign    int // of value minus than: what is refused, besides equal if strict
	strict  bool
}

// A glob is a pattern of patternProperties.
type glob struct {
	*pattern
	n *node
}

// A dependency holds if there is a property of that name. draft-07 has one keyword for the
// two kinds: names that are required, or a schema for the whole object.
type dependency struct {
	keyword, name string
	required      []string
	n             *node
}

// A scope is a schema resource: what dynamic anchors it has.
type scope struct{ anchors map[string]*node }

type dynamicRef struct {
	n      *node
	anchor string // "" for an ordinary reference
}

// A builder makes nodes of a library's schemas. Schemas may refer to each other in circles,
// so a schema's node is known before its parts are built.
type builder struct {
	given      map[*jsonschema.Schema]map[string]any // the keywords as they were written
	byLocation map[string]*jsonschema.Schema
	nodes      map[*jsonschema.Schema]*node
	scopes     map[string]*scope
	formats    bool
	err        error
}

// node is build with the first error of all that was built so far.
func (b *builder) node(s *jsonschema.Schema) (*node, error) {
	n := b.build(s)
	return n, b.err
}

var always, never = &node{pass: true}, &node{never: true}

func (b *builder) build(s *jsonschema.Schema) *node {
	if s == nil {
		return nil
	}
	if n := b.nodes[s]; n != nil {
		return n
	}
	none := bounds{high: -1}
	n := &node{location: strings.TrimPrefix(s.Location, self), counts: none, lengths: none, containCount: none, text: none}
	b.nodes[s] = n
	n.scope = b.scopeOf(s.Location)
	if s.Bool != nil {
		n.pass, n.never = *s.Bool, !*s.Bool
		return n
	}
	n.ref = b.build(s.Ref)
	if s.Ref != nil && s.DraftVersion < 2019 {
		return n // a reference stands alone in draft-07
	}
	// A $dynamicRef is an ordinary reference if what it names is no dynamic anchor.
	if s.DynamicRef != nil {
		n.dynamic = &dynamicRef{n: b.build(s.DynamicRef.Ref)}
		if s.DynamicRef.Ref.DynamicAnchor == s.DynamicRef.Anchor {
			n.dynamic.anchor = s.DynamicRef.Anchor
		}
	}
	b.assertions(n, s)
	n.all, n.any, n.one = b.list(s.AllOf), b.list(s.AnyOf), b.list(s.OneOf)
	n.not, n.cond, n.then, n.els = b.build(s.Not), b.build(s.If), b.build(s.Then), b.build(s.Else)
	b.objects(n, s)
	b.arrays(n, s)
	return n
}

// list builds the schemas of an array, in its order, in which they are asked.
func (b *builder) list(in []*jsonschema.Schema) (out []*node) {
	for _, s := range in {
		out = append(out, b.build(s))
	}
	return out
}

// scopeOf returns the resource of the schema at a location: the nearest schema around it
// that has an $id, or the whole document. A location is an address and a pointer, as
// weft:schema#/properties/a: it is shortened at its end until there is a schema with an $id.
func (b *builder) scopeOf(location string) *scope {
	at := location
	for {
		s := b.byLocation[at]
		i := strings.LastIndexByte(at, '/')
		root := strings.HasSuffix(at, "#") || i < strings.IndexByte(at, '#')
		if root || s != nil && s.ID != "" {
			break
		}
		if at = at[:i]; strings.HasSuffix(at, "#") {
			break
		}
	}
	if b.scopes[at] == nil {
		b.scopes[at] = &scope{anchors: map[string]*node{}}
	}
	return b.scopes[at]
}

// assertions builds the keywords for the value itself: types, const and enum, text and
// numbers.
func (b *builder) assertions(n *node, s *jsonschema.Schema) {
	if s.Types != nil {
		for _, t := range s.Types.ToStrings() {
			n.types |= kindNames[t]
		}
	}
	for _, x := range s.Extensions {
		if t, ok := x.(bsonTypes); ok {
			n.bsonTypes = t
		}
	}
	if s.Const != nil {
		c := b.canonical(*s.Const)
		n.constant = &c
	}
	if s.Enum != nil {
		n.enum = map[string]struct{}{}
		for _, v := range s.Enum.Values {
			n.enum[b.canonical(v)] = struct{}{}
		}
	}
	if b.formats {
		n.format = s.Format
	}
	n.text = bounds{b.count(s, "minLength", s.MinLength, 0), b.count(s, "maxLength", s.MaxLength, -1)}
	n.pattern = patternOf(s.Pattern)
	n.multipleOf = s.MultipleOf
	add := func(keyword string, r *big.Rat, sign int, strict bool) {
		if r != nil {
			k := bound{keyword: keyword, than: r, sign: sign, strict: strict}
			k.near, _ = r.Float64()
			if k.isWhole = r.IsInt() && r.Num().IsInt64(); k.isWhole {
				k.whole = r.Num().Int64()
			}
			n.numbers = append(n.numbers, k)
		}
	}
	add("minimum", s.Minimum, -1, false)
	add("maximum", s.Maximum, 1, false)
	add("exclusiveMinimum", s.ExclusiveMinimum, -1, true)
	add("exclusiveMaximum", s.ExclusiveMaximum, 1, true)
}

// patternOf is nil where there is no pattern: all that the library holds come from
// compilePattern.
func patternOf(re jsonschema.Regexp) *pattern {
	p, _ := re.(*pattern)
	return p
}

// count is a keyword's bound on a count, none where the schema lacks it. The library keeps
// the low bits of a number, and a schema may hold any: maxItems 2^64 would allow no item,
// and on a machine of 32 bits 2^32 would. So the number is read as it was written, and one
// beyond all that a document can hold is the greatest int32.
func (b *builder) count(s *jsonschema.Schema, keyword string, have *int, none int) int {
	if have == nil {
		return none
	}
	n, ok := b.given[s][keyword].(json.Number)
	if !ok {
		return *have
	}
	if r, err := parseNumber(n.String()); err == nil && r.Cmp(greatest) > 0 {
		return math.MaxInt32
	}
	return *have
}

var greatest = big.NewRat(math.MaxInt32, 1)

// canonical is appendJSONCanonical that keeps an error until the schema is built.
func (b *builder) canonical(v any) string {
	c, err := appendJSONCanonical(nil, v)
	if err != nil && b.err == nil {
		b.err = err
	}
	return string(c)
}

// objects builds the keywords for objects. What the library has in maps is sorted: the
// first misfit must be the same on every device. properties stay a map, for the document
// says in which order they are asked.
func (b *builder) objects(n *node, s *jsonschema.Schema) {
	if len(s.Properties) > 0 {
		n.props = map[string]*node{}
		for k, p := range s.Properties {
			n.props[k] = b.build(p)
		}
	}
	for re, p := range s.PatternProperties {
		n.globs = append(n.globs, glob{patternOf(re), b.build(p)})
	}
	slices.SortFunc(n.globs, func(x, y glob) int { return strings.Compare(x.String(), y.String()) })
	n.more, n.names = b.either(s.AdditionalProperties), b.build(s.PropertyNames)
	n.uneval = b.build(s.UnevaluatedProperties)
	n.counts = bounds{b.count(s, "minProperties", s.MinProperties, 0), b.count(s, "maxProperties", s.MaxProperties, -1)}
	n.needs = map[string]int{}
	for _, k := range s.Required {
		if _, ok := n.needs[k]; !ok {
			n.needs[k] = len(n.want)
			n.want = append(n.want, k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(s.Dependencies)) {
		d := dependency{keyword: "dependencies", name: k}
		switch x := s.Dependencies[k].(type) {
		case []string:
			d.required = x
		case *jsonschema.Schema:
			d.n = b.build(x)
		}
		n.deps = append(n.deps, d)
	}
	for _, k := range slices.Sorted(maps.Keys(s.DependentRequired)) {
		n.deps = append(n.deps, dependency{keyword: "dependentRequired", name: k, required: s.DependentRequired[k]})
	}
	for _, k := range slices.Sorted(maps.Keys(s.DependentSchemas)) {
		n.deps = append(n.deps, dependency{keyword: "dependentSchemas", name: k, n: b.build(s.DependentSchemas[k])})
	}
	n.object = n.props != nil || n.globs != nil || n.more != nil || n.names != nil || n.uneval != nil ||
		n.counts.set() || n.want != nil || n.deps != nil
}

// arrays builds the keywords for arrays. In draft-07 a list of items is what prefixItems is
// in 2020-12, and additionalItems what items is. contains without minContains asks for one.
func (b *builder) arrays(n *node, s *jsonschema.Schema) {
	n.lengths = bounds{b.count(s, "minItems", s.MinItems, 0), b.count(s, "maxItems", s.MaxItems, -1)}
	n.unique = s.UniqueItems
	if s.DraftVersion >= 2020 {
		n.prefix, n.items = b.list(s.PrefixItems), b.build(s.Items2020)
		n.countsItems = true
	} else if one, ok := s.Items.([]*jsonschema.Schema); ok {
		n.prefix, n.items = b.list(one), b.either(s.AdditionalItems)
	} else {
		n.items = b.either(s.Items)
	}
	n.contains, n.unevalItems = b.build(s.Contains), b.build(s.UnevaluatedItems)
	n.containCount = bounds{b.count(s, "minContains", s.MinContains, 1), b.count(s, "maxContains", s.MaxContains, -1)}
	n.array = n.lengths.set() || n.unique || n.prefix != nil || n.items != nil || n.contains != nil || n.unevalItems != nil
}

// either builds what is nothing, a boolean or a schema.
func (b *builder) either(v any) *node {
	switch v := v.(type) {
	case bool:
		if v {
			return always
		}
		return never
	case *jsonschema.Schema:
		return b.build(v)
	}
	return nil
}

// inPlace returns the nodes that test the same value as n, whatever it is. Of anyOf that
// is the first only, and then and else are not among them: whether these are asked depends
// on the value. A dynamic reference depends on where evaluation came from.
func (n *node) inPlace() (out []*node) {
	out = append(out, n.all...)
	if n.ref != nil {
		out = append(out, n.ref)
	}
	for _, x := range []*node{n.not, n.cond} {
		if x != nil {
			out = append(out, x)
		}
	}
	if len(n.any) > 0 {
		out = append(out, n.any[0])
	}
	return append(out, n.one...)
}

// endless refuses nodes that test a value by themselves again and again. It looks for
// circles of in-place nodes. Nodes are visited in the order of their locations, so that the
// error names the same one everywhere.
func (b *builder) endless() error {
	const open, done = 1, 2
	seen := map[*node]int{}
	var visit func(n *node) bool
	visit = func(n *node) bool {
		if seen[n] != 0 {
			return seen[n] == open
		}
		seen[n] = open
		found := slices.ContainsFunc(n.inPlace(), visit)
		seen[n] = done
		return found
	}
	all := slices.SortedFunc(maps.Values(b.nodes), func(x, y *node) int { return strings.Compare(x.location, y.location) })
	for _, n := range all {
		if visit(n) {
			return fmt.Errorf("%w: %s", errStack, n.location)
		}
	}
	return nil
}

// bsonTypes are the types that the keyword bsonType accepts, a bit each; it is
// MongoDB's.
type bsonTypes uint32

// Validate does nothing: nodes are evaluated here, not by the library.
func (bsonTypes) Validate(*jsonschema.ValidatorContext, any) {}

var bsonNames = map[string]bsonTypes{
	"double": 1 << 1, "string": 1 << 2, "object": 1 << 3, "array": 1 << 4, "binData": 1 << 5, "undefined": 1 << 6,
	"objectId": 1 << 7, "bool": 1 << 8, "date": 1 << 9, "null": 1 << 10, "regex": 1 << 11, "dbPointer": 1 << 12,
	"javascript": 1 << 13, "symbol": 1 << 14, "javascriptWithScope": 1 << 15, "int": 1 << 16, "timestamp": 1 << 17,
	"long": 1 << 18, "decimal": 1 << 19, "minKey": 1 << 20, "maxKey": 1 << 21,
	"number": 1<<1 | 1<<16 | 1<<18 | 1<<19,
}

// The bits are the numbers of BSON's types, but for the two ends of the order, whose
// numbers are 255 and 127.
func (t bsonTypes) has(v value.Value) bool {
	switch v.Type {
	case bson.TypeMinKey:
		return t&bsonNames["minKey"] != 0
	case bson.TypeMaxKey:
		return t&bsonNames["maxKey"] != 0
	}
	return t&(1<<v.Type) != 0
}

// parseBSONTypes reads a type's name or an array of names.
func parseBSONTypes(obj map[string]any) (jsonschema.SchemaExt, error) {
	v, ok := obj["bsonType"]
	if !ok {
		return nil, nil
	}
	names, ok := v.([]any)
	if !ok {
		names = []any{v}
	}
	var t bsonTypes
	for _, n := range names {
		s, _ := n.(string)
		bit, ok := bsonNames[s]
		if !ok {
			return nil, fmt.Errorf("bsonType: unknown type %v", n)
		}
		t |= bit
	}
	if t == 0 {
		return nil, fmt.Errorf("bsonType: no type")
	}
	return t, nil
}
