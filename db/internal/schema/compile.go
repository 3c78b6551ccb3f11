package schema

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// The drafts, and the address that a schema has for itself.
const (
	draft2020 = "https://json-schema.org/draft/2020-12/schema"
	draft7    = "http://json-schema.org/draft-07/schema"
	self      = "weft:schema"
)

// Compile parses a schema. What it refuses is an error that says where. Beyond the bounds
// three things are refused that the drafts allow, since replicas have to decide alike and in
// bounded time: to load other documents, patterns that RE2 does not have, and references
// without end.
func Compile(text string, o Options) (*Schema, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("a schema has at most %d bytes, not %d", MaxText, len(text))
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("the schema is not JSON: %w", err)
	}
	nodes := maxNodes
	if err := checkText(doc, maxNesting, &nodes); err != nil {
		return nil, err
	}
	if err := checkDraft(doc, o); err != nil {
		return nil, err
	}
	var all []*jsonschema.Schema
	given := map[*jsonschema.Schema]map[string]any{}
	c := jsonschema.NewCompiler()
	c.UseLoader(loader(o.Documents))
	c.DefaultDraft(jsonschema.Draft2020)
	var refused []string // of several faults the first by name is told, wherever the library began
	compiling := true    // later, the format regex asks about texts of documents
	c.UseRegexpEngine(func(s string) (jsonschema.Regexp, error) {
		re, err := compilePattern(s)
		if err != nil && compiling {
			refused = append(refused, fmt.Sprintf("the pattern %q: %v", s, err))
			return noPattern, nil
		}
		return re, err
	})
	if o.Formats {
		c.AssertFormat()
	}
	// A vocabulary is asked about every subschema, which gives us all of them,
	// those too that only a dynamic reference reaches.
	c.RegisterVocabulary(&jsonschema.Vocabulary{
		URL: "weft:bson",
		Compile: func(ctx *jsonschema.CompilerContext, obj map[string]any) (jsonschema.SchemaExt, error) {
			s := ctx.Enqueue(nil)
			all, given[s] = append(all, s), obj
			t, err := parseBSONTypes(obj)
			if err != nil {
				refused = append(refused, err.Error())
			}
			return t, nil
		},
	})
	c.AssertVocabs()
	if err := c.AddResource(self, doc); err != nil {
		return nil, err
	}
	s, err := c.Compile(self)
	compiling = false
	if err != nil {
		return nil, explain(err, doc)
	}
	if len(refused) > 0 {
		return nil, errors.New(clip(slices.Min(refused)))
	}
	slices.SortFunc(all, func(x, y *jsonschema.Schema) int { return strings.Compare(x.Location, y.Location) })
	b := &builder{
		given: given, byLocation: map[string]*jsonschema.Schema{}, nodes: map[*jsonschema.Schema]*node{}, scopes: map[string]*scope{}, formats: o.Formats,
	}
	for _, x := range append(all, s) {
		b.byLocation[x.Location] = x
	}
	root, err := b.node(s)
	if err != nil {
		return nil, err
	}
	for _, x := range all {
		if x.DynamicAnchor != "" && x.DraftVersion >= 2020 {
			n, err := b.node(x)
			if err != nil {
				return nil, err
			}
			n.scope.anchors[x.DynamicAnchor] = n
		}
	}
	if err := b.endless(); err != nil {
		return nil, err
	}
	return &Schema{root: root}, nil
}

// checkText bounds what the text nests and holds, and its numbers. It comes before the
// library, which recurses as deep as the text does. depth and nodes are what is left.
func checkText(v any, depth int, nodes *int) error {
	if *nodes--; *nodes < 0 {
		return fmt.Errorf("the schema has more than %d values", maxNodes)
	}
	if depth == 0 {
		return fmt.Errorf("the schema is nested deeper than %d", maxNesting)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) { // the same error everywhere
			if err := checkText(v[k], depth-1, nodes); err != nil {
				return err
			}
		}
	case []any:
		for _, e := range v {
			if err := checkText(e, depth-1, nodes); err != nil {
				return err
			}
		}
	case fmt.Stringer: // a number
		if _, err := parseNumber(v.String()); err != nil {
			return err
		}
	}
	return nil
}

// parseNumber parses a JSON number no larger or finer than a decimal can be. 1e999999999
// would be a billion digits: the exponent is looked at before the number is made.
func parseNumber(s string) (*big.Rat, error) {
	if _, e, ok := strings.Cut(strings.ToLower(s), "e"); ok || len(s) > 400 {
		if n, err := strconv.Atoi(e); err != nil || n > 6200 || n < -6200 || len(s) > 400 {
			return nil, fmt.Errorf("the number %.40s is too large or too fine", s)
		}
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil, fmt.Errorf("invalid number %.40s", s)
	}
	return r, nil
}

// checkDraft refuses other drafts by name; a schema that names none is of 2020-12.
func checkDraft(doc any, o Options) error {
	obj, ok := doc.(map[string]any)
	if !ok {
		if _, ok := doc.(bool); ok {
			return nil
		}
		return errors.New("a schema must be an object or a boolean")
	}
	d, given := obj["$schema"]
	if !given {
		return nil
	}
	s, _ := d.(string)
	switch strings.TrimSuffix(s, "#") {
	case draft2020, draft7:
		return nil
	}
	if _, ok := o.Documents[s]; ok {
		return nil
	}
	return fmt.Errorf("$schema must be %s or %s, not %q", draft2020, draft7+"#", s)
}

// A loader loads what it holds and nothing else.
type loader map[string][]byte

// Load implements the library's loader. The meta-schemas of the two drafts are built into
// the library.
func (l loader) Load(url string) (any, error) {
	if text, ok := l[url]; ok {
		return jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	}
	return nil, fmt.Errorf("schemas may not refer to other documents: %s", url)
}

// explain makes the compiler's error one line of bounded length whose words do not depend
// on the order of a map. The library says all that is wrong with the form in a tree, of
// whose leaves the first in alphabetical order is given. Of what leads nowhere it says what
// it met first: the names that it may have met are given instead.
func explain(err error, doc any) error {
	var lines []string
	var invalid *jsonschema.SchemaValidationError
	var ve *jsonschema.ValidationError
	if errors.As(err, &invalid) && errors.As(invalid.Err, &ve) {
		leaves(ve, message.NewPrinter(language.English), &lines)
		return fmt.Errorf("this is not a valid schema: %s", clip(slices.Min(lines)))
	}
	names(doc, &lines)
	slices.Sort(lines)
	lines = slices.Compact(lines)
	return fmt.Errorf("the schema may not refer to other documents, and what it names has to be in it once; it names %s", clip(strings.Join(lines, ", ")))
}

// names collects by what a schema refers to itself or to others.
func names(doc any, into *[]string) {
	switch v := doc.(type) {
	case map[string]any:
		for k, e := range v {
			switch s, ok := e.(string); {
			case !ok:
				names(e, into)
			case slices.Contains([]string{"$ref", "$dynamicRef", "$id", "$anchor", "$dynamicAnchor", "$schema"}, k):
				*into = append(*into, k+" "+strconv.Quote(s))
			}
		}
	case []any:
		for _, e := range v {
			names(e, into)
		}
	}
}

// clip leaves out the middle of a long text.
func clip(s string) string {
	if len(s) > 300 {
		s = s[:150] + "…" + s[len(s)-150:]
	}
	return strings.ToValidUTF8(s, "?")
}

// leaves collects what is wrong in itself, rather than because of something within it.
func leaves(e *jsonschema.ValidationError, p *message.Printer, into *[]string) {
	if len(e.Causes) == 0 {
		*into = append(*into, fmt.Sprintf("at /%s: %s", strings.Join(e.InstanceLocation, "/"), e.ErrorKind.LocalizedString(p)))
	}
	for _, c := range e.Causes {
		leaves(c, p, into)
	}
}

// noPattern stands for a pattern that is refused.
var noPattern = &pattern{regexp.MustCompile("^$"), 1}

// A pattern is a regular expression of bounded cost.
type pattern struct {
	*regexp.Regexp
	size int // instructions, about
}

// compilePattern is the library's way to make a pattern. The size is estimated on the
// parsed pattern: to compile x{1000}{1000} in order to measure it would be what the bound
// is to prevent.
func compilePattern(s string) (jsonschema.Regexp, error) {
	if len(s) > maxPattern {
		return nil, fmt.Errorf("a pattern has at most %d bytes", maxPattern)
	}
	tree, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return nil, err
	}
	n := programSize(tree)
	if n > maxProgram {
		return nil, fmt.Errorf("the repetitions of the pattern make it too large")
	}
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, err
	}
	return &pattern{re, n}, nil
}

// programSize estimates the instructions of an expression, at most about 1e9. Of a class
// re.Rune has two runes for each range. Repetitions are written out by the compiler: they
// count as many times as they may occur.
func programSize(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)/2
	for _, s := range re.Sub {
		n += programSize(s)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(1, re.Min, re.Max)
	}
	return min(n, 1_000_000_000)
}
