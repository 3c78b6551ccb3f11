package query

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// operator compiles one operator on a path. This is the list of them: a new one
// is a case here, a function that checks its argument and gives a part, and a leaf
// that tests a value.
func (c *compiler) operator(key, op string, v value.Value) (part, error) {
	switch op {
	case "$eq", "$ne", "$gt", "$gte", "$lt", "$lte":
		return comparison(key, op, v)
	case "$in":
		return inPart(key, op, v)
	case "$nin":
		p, err := inPart(key, op, v)
		p.not, p.note = true, nil
		return p, err
	case "$not":
		return c.not(key, v)
	case "$exists":
		if truthy(v) {
			return part{leaf: existsLeaf{}, reach: reachWhole, note: []Conjunct{{Op: Exists}}}, nil
		}
		return part{leaf: existsLeaf{}, reach: reachWhole, not: true}, nil
	case "$type":
		return typePart(key, v)
	case "$size":
		return sizePart(key, v)
	case "$all":
		return c.all(key, v)
	case "$elemMatch":
		return c.elemMatch(key, v)
	case "$mod":
		return modPart(key, v)
	case "$bitsAllSet", "$bitsAnySet", "$bitsAllClear", "$bitsAnyClear":
		return bitsPart(key, op, v)
	case "$comment":
		return part{parts: []part{}}, nil
	}
	return part{}, errBad("%s: unknown operator: %s", key, op)
}

// eqPart is equality, which an index answers, and which an upsert copies into the new
// document.
func eqPart(v value.Value) part {
	return part{leaf: &eqLeaf{v: v, class: value.Class(v)}, reach: reachDeep, note: noteOf(Eq, v), equal: true}
}

func sizePart(key string, v value.Value) (part, error) {
	n, ok := integral(v)
	if !ok {
		return part{}, fault.Errorf(fault.FailedToParse, "%s: Failed to parse $size. Expected an integer", key)
	}
	if n < 0 {
		return part{}, fault.Errorf(fault.FailedToParse, "%s: Failed to parse $size. Expected a non-negative number in: $size: %d", key, n)
	}
	return part{leaf: sizeLeaf(n), reach: reachWhole}, nil
}

// comparison compiles equality, its negation, and the ranges.
func comparison(key, op string, v value.Value) (part, error) {
	if v.Type == bson.TypeUndefined {
		return part{}, errBad("%s: %s: cannot compare to undefined", key, op)
	}
	if v.Type == bson.TypeRegex && op != "$eq" {
		return part{}, errBad("%s: Can't have regex as arg to %s.", key, op)
	}
	switch op {
	case "$eq":
		return eqPart(v), nil
	case "$ne":
		p := eqPart(v)
		p.not = true
		return p, nil
	}
	return part{leaf: newCmpLeaf(Op(op), v), note: noteOf(Op(op), v)}, nil
}

// inPart compiles the list of $in and $nin. An index answers it if it can answer each
// value.
func inPart(key, op string, v value.Value) (part, error) {
	if !v.IsArray() {
		return part{}, errBad("%s: %s needs an array", key, op)
	}
	l := &inLeaf{}
	it := value.Elements(v.Data)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		switch {
		case e.Type == bson.TypeRegex:
			p, err := regexPart(key, e, "")
			if err != nil {
				return part{}, err
			}
			l.regexes = append(l.regexes, p.leaf.(*regexLeaf))
		case e.Type == bson.TypeUndefined:
			return part{}, errBad("%s: %s: cannot compare to undefined", key, op)
		case e.IsDoc() && isOperators(e.Data):
			return part{}, errBad("%s: cannot nest $ under %s", key, op)
		default:
			l.null = l.null || nullish(e)
			l.values = append(l.values, e)
		}
	}
	slices.SortStableFunc(l.values, value.Compare)
	l.values = slices.CompactFunc(l.values, value.Equal)
	p := part{leaf: l, reach: reachElements}
	if len(l.regexes) == 0 && !slices.ContainsFunc(l.values, unindexed) {
		p.note = []Conjunct{{Op: In, Values: l.values}}
	}
	return p, nil
}

// not compiles {$not: {operators}} and {$not: /pattern/}: the negation of all of them
// together.
func (c *compiler) not(key string, v value.Value) (part, error) {
	if v.Type == bson.TypeRegex {
		p, err := regexPart(key, v, "")
		p.not = true
		return p, err
	}
	if !v.IsDoc() {
		return part{}, errBad("%s: $not needs a regex or a document", key)
	}
	if len(v.Data) <= 5 {
		return part{}, errBad("%s: $not cannot be empty", key)
	}
	parts, err := c.operators(key, v.Data)
	return part{not: true, parts: parts}, err
}

// $all is the conjunction of an equality, a pattern or an $elemMatch for each element; of
// nothing, it matches nothing. Only a single equality says what an upsert is to set.
func (c *compiler) all(key string, v value.Value) (part, error) {
	if !v.IsArray() {
		return part{}, errBad("%s: $all needs an array", key)
	}
	p := part{}
	it := value.Elements(v.Data)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		var k part
		var err error
		switch {
		case e.Type == bson.TypeRegex:
			k, err = regexPart(key, e, "")
		case e.IsDoc() && isOperators(e.Data):
			m := value.Get(e.Data, "$elemMatch")
			if !m.Exists() {
				return part{}, errBad("%s: no $ expressions in $all", key)
			}
			k, err = c.elemMatch(key, m)
		default:
			k = eqPart(e)
			if k.reach = reachAny; e.IsDoc() {
				k.reach = reachMember
			}
			k.equal = value.At(v.Data, 1).Type == 0
		}
		if err != nil {
			return part{}, err
		}
		p.parts = append(p.parts, k)
	}
	if len(p.parts) == 0 {
		p.leaf = noneLeaf{}
	}
	return p, nil
}

// elemMatch compiles either form of $elemMatch:
//
//	{$elemMatch: {$gt: 1, $lt: 5}}     operators: an element is a value by itself
//	{$elemMatch: {x: 1, y: 2}}         a filter: an element is a document
//
// What an index can answer of either is Inner: it holds of an element, and the same
// condition on the path need not hold.
func (c *compiler) elemMatch(key string, v value.Value) (part, error) {
	if !v.IsDoc() {
		return part{}, errBad("%s: $elemMatch needs an Object", key)
	}
	if onElement(v.Data) {
		parts, err := c.operators(key, v.Data)
		var nodes []node
		p := part{reach: reachWhole}
		for _, k := range parts {
			nodes = append(nodes, k.node(nil))
			if !k.not {
				p.note = append(p.note, inner(k.note)...)
			}
		}
		p.leaf = elemLeaf{conjunction(nodes)}
		return p, err
	}
	sub := compiler{f: &Filter{}, nested: true, lead: "."}
	t, err := parseTree(v.Data)
	if err != nil {
		return part{}, err
	}
	nodes, err := sub.tree(t)
	if c.f.conditions += sub.f.conditions; err == nil && c.f.conditions > maxConditions {
		err = errBad("%s: the filter has more than %d conditions", key, maxConditions)
	}
	return part{leaf: elemDocLeaf{conjunction(nodes)}, reach: reachWhole, note: inner(t.Conjuncts())}, err
}

// inner marks conditions as those of an element.
func inner(cons []Conjunct) []Conjunct {
	out := slices.Clone(cons)
	for i := range out {
		out[i].Inner = true
	}
	return out
}

// onElement reports whether doc has operators on an element by itself; one that begins with
// a logical operator is a filter on elements that are documents.
func onElement(doc []byte) bool {
	it := value.Elements(doc)
	k, _, _ := it.Next()
	switch string(k) {
	case "$and", "$or", "$nor", "$expr", "$where":
		return false
	}
	return isOperators(doc)
}

// truthy is MongoDB's notion of a true argument.
func truthy(v value.Value) bool {
	switch v.Type {
	case bson.TypeBoolean:
		return v.Bool()
	case bson.TypeInt32, bson.TypeInt64, bson.TypeDouble, bson.TypeDecimal128:
		return value.Compare(v, value.Int32(0)) != 0
	}
	return v.Exists() && !nullish(v)
}

// integral returns a number that is exactly an int64.
func integral(v value.Value) (int64, bool) {
	n, ok := truncated(v)
	return n, ok && value.Compare(v, value.Int64(n)) == 0
}

// regexOperator compiles $regex with $options: a string, or a regular expression, whose
// options are its own.
func regexOperator(key string, v, options value.Value) (part, error) {
	o := ""
	if options.Exists() {
		if options.Type != bson.TypeString {
			return part{}, errBad("%s: $options has to be a string", key)
		}
		o = string(options.Str())
	}
	switch v.Type {
	case bson.TypeString:
		raw := append(append(append([]byte(nil), v.Str()...), 0), o...)
		if strings.IndexByte(string(raw[:len(v.Str())]), 0) >= 0 || strings.IndexByte(o, 0) >= 0 {
			return part{}, fault.Errorf(fault.InvalidRegex, "%s: $regex: pattern holds a NUL byte", key)
		}
		return regexPart(key, value.Value{Type: bson.TypeRegex, Data: append(raw, 0)}, "")
	case bson.TypeRegex:
		if _, own := v.Regex(); own != "" && o != "" {
			return part{}, fault.Errorf(fault.FailedToParse, "%s: $regex: options set in both $regex and $options", key)
		}
		return regexPart(key, v, o)
	}
	return part{}, errBad("%s: $regex has to be a string", key)
}

// regexPart compiles a regular expression value; options adds to its own.
func regexPart(key string, v value.Value, options string) (part, error) {
	pattern, own := v.Regex()
	l, err := compileRegex(key, pattern, own+options)
	if err != nil {
		return part{}, err
	}
	l.raw = v
	p := part{leaf: l, reach: reachDeep}
	if prefix := literalPrefix(pattern, own+options); prefix != "" {
		p.note = []Conjunct{{Op: Prefix, Value: value.String(prefix)}}
	}
	return p, nil
}

var typeNames = map[string][]bson.Type{
	"double": {bson.TypeDouble}, "string": {bson.TypeString}, "object": {bson.TypeEmbeddedDocument},
	"array": {bson.TypeArray}, "binData": {bson.TypeBinary}, "undefined": {bson.TypeUndefined},
	"objectId": {bson.TypeObjectID}, "bool": {bson.TypeBoolean}, "date": {bson.TypeDateTime},
	"null": {bson.TypeNull}, "regex": {bson.TypeRegex}, "dbPointer": {bson.TypeDBPointer},
	"javascript": {bson.TypeJavaScript}, "symbol": {bson.TypeSymbol},
	"javascriptWithScope": {bson.TypeCodeWithScope}, "int": {bson.TypeInt32},
	"timestamp": {bson.TypeTimestamp}, "long": {bson.TypeInt64}, "decimal": {bson.TypeDecimal128},
	"minKey": {bson.TypeMinKey}, "maxKey": {bson.TypeMaxKey},
	"number": {bson.TypeDouble, bson.TypeInt32, bson.TypeInt64, bson.TypeDecimal128},
}

// typePart compiles $type: the name or number of a type, or an array of these. number
// stands for four types.
func typePart(key string, v value.Value) (part, error) {
	l := &typeLeaf{}
	if !v.IsArray() {
		return part{leaf: l}, l.add(key, v)
	}
	n := 0
	it := value.Elements(v.Data)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		if err := l.add(key, e); err != nil {
			return part{}, err
		}
		n++
	}
	if n == 0 {
		return part{}, fault.Errorf(fault.FailedToParse, "%s: $type must match at least one type", key)
	}
	return part{leaf: l}, nil
}

func (l *typeLeaf) add(key string, v value.Value) error {
	if v.Type == bson.TypeString {
		types, ok := typeNames[string(v.Str())]
		if !ok {
			return errBad("%s: $type: Unknown type name alias: %s", key, v.Str())
		}
		for _, t := range types {
			l[t] = true
		}
		return nil
	}
	n, ok := integral(v)
	if !ok {
		return fault.Errorf(fault.TypeMismatch, "%s: $type must be represented as a number or a string", key)
	}
	switch {
	case n == -1:
		n = int64(bson.TypeMinKey)
	case n == 127, n >= 1 && n <= 19:
	default:
		return errBad("%s: $type: Invalid numerical type code: %d", key, n)
	}
	l[n] = true
	return nil
}

// modPart compiles [divisor, remainder], both rounded to whole numbers toward 0.
func modPart(key string, v value.Value) (part, error) {
	if !v.IsArray() {
		return part{}, errBad("%s: malformed mod, needs to be an array", key)
	}
	d, r := value.At(v.Data, 0), value.At(v.Data, 1)
	switch {
	case !r.Exists():
		return part{}, errBad("%s: malformed $mod, not enough elements", key)
	case value.At(v.Data, 2).Exists():
		return part{}, errBad("%s: malformed $mod, too many elements", key)
	}
	divisor, ok := truncated(d)
	remainder, ok2 := truncated(r)
	switch {
	case !ok:
		return part{}, errBad("%s: malformed $mod, divisor value is invalid", key)
	case !ok2:
		return part{}, errBad("%s: malformed $mod, remainder value is invalid", key)
	case divisor == 0:
		return part{}, errBad("%s: $mod: divisor cannot be 0", key)
	}
	return part{leaf: modLeaf{divisor, remainder}, reach: reachMod}, nil
}
