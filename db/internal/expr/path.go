package expr

import (
	"strings"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// Slots below 0 are the variables that every expression has.
const (
	slotCurrent = -1
	slotRoot    = -2
	slotNow     = -3
	slotRemove  = -4
)

// A fieldPath reads a path of the document or of a variable. Arrays on the way
// give the array of what their documents have; numbers are field names only.
//
//	a: [{b: 1}, {}, {b: [2]}, 7, [{b: 3}]]     $a.b is [1, [2]]: no documents in arrays of arrays
//	a: {b: 1}                                  $a.b.c is missing
type fieldPath struct {
	slot int
	path value.Path
}

func (p *fieldPath) eval(e *Env) (value.Value, error) {
	switch p.slot {
	case slotCurrent:
		return p.follow(e, value.Doc(e.current()), 0)
	case slotRoot:
		return p.follow(e, value.Doc(e.Root), 0)
	case slotNow:
		return p.follow(e, e.date(e.Now), 0)
	case slotRemove:
		return value.Value{}, nil
	}
	return p.follow(e, e.slots[p.slot], 0)
}

func (p *fieldPath) follow(e *Env, v value.Value, i int) (value.Value, error) {
	for ; i < len(p.path); i++ {
		if len(v.Data) > 256 {
			if err := e.spend(len(v.Data) >> 8); err != nil {
				return v, err
			}
		}
		switch {
		case v.IsDoc():
			v = value.Get(v.Data, p.path[i].Name)
		case v.IsArray():
			return p.each(e, v, i)
		default:
			return value.Value{}, nil
		}
	}
	return v, nil
}

func (p *fieldPath) each(e *Env, arr value.Value, i int) (value.Value, error) {
	out := e.array("a field path")
	it := value.Elements(arr.Data)
	for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
		if !v.IsDoc() {
			continue
		}
		if err := e.tick(); err != nil {
			return value.Value{}, err
		}
		v, err := p.follow(e, v, i)
		if err != nil {
			return value.Value{}, err
		}
		if v.Exists() && !out.add(v) {
			break
		}
	}
	return out.value()
}

// ParseFieldPath parses a path of expressions, as "a.b" in "$a.b".
func ParseFieldPath(s string) (value.Path, error) {
	switch {
	case s == "":
		return nil, fault.Errorf(fault.EmptyFieldName, "FieldPath cannot be constructed with empty string")
	case strings.HasSuffix(s, "."):
		return nil, fault.Errorf(fault.FailedToParse, "FieldPath must not end with a '.'.")
	}
	p, err := value.ParseFilterPath(s)
	if err != nil {
		return nil, err
	}
	for _, part := range p {
		switch {
		case part.Name == "":
			return nil, fault.Errorf(fault.EmptyFieldName, "FieldPath field names may not be empty strings: '%s'", s)
		case part.Name[0] == '$':
			return nil, fault.Errorf(fault.DollarPrefixed, "FieldPath field names may not start with '$'. Consider using $getField or $setField. Path: '%s'", s)
		}
	}
	return p, nil
}

// path compiles a string that begins with "$": $a is $$CURRENT.a. A variable bound later hides one of
// the same name; $$ROOT and the like cannot be hidden, for the names of users' variables do not begin
// with a capital.
func (c *compiler) path(s string) (node, error) {
	if s == "$" {
		return nil, fault.Errorf(fault.FailedToParse, "'$' by itself is not a valid FieldPath")
	}
	if !strings.HasPrefix(s, "$$") {
		p, err := ParseFieldPath(s[1:])
		if err != nil {
			return nil, err
		}
		return c.documentPath(slotCurrent, p), nil
	}
	name, rest, dotted := strings.Cut(s[2:], ".")
	var p value.Path
	if dotted {
		var err error
		if p, err = ParseFieldPath(rest); err != nil {
			return nil, err
		}
	}
	switch name {
	case "CURRENT":
		return c.documentPath(slotCurrent, p), nil
	case "ROOT":
		return c.documentPath(slotRoot, p), nil
	case "NOW":
		return &fieldPath{slotNow, p}, nil
	case "REMOVE":
		return &fieldPath{slotRemove, p}, nil
	}
	for i := len(c.names) - 1; i >= 0; i-- {
		if c.names[i] == name {
			return &fieldPath{i, p}, nil
		}
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	return nil, fault.Errorf(fault.FailedToParse, "Use of undefined variable: %s", name)
}

func (c *compiler) documentPath(slot int, p value.Path) node {
	if len(p) == 0 {
		c.e.whole = true
	} else {
		c.e.fields = append(c.e.fields, p.String())
	}
	return &fieldPath{slot, p}
}

// bind gives a variable the next slot, for the expressions compiled until it is
// unbound.
func (c *compiler) bind(name string) int {
	c.names = append(c.names, name)
	c.most = max(c.most, len(c.names))
	return len(c.names) - 1
}

func (c *compiler) unbind(n int) { c.names = c.names[:len(c.names)-n] }

// checkName checks the name of a user variable: a lower-case letter or a
// character beyond ASCII, then letters, digits and underscores.
func checkName(name string) error {
	if name == "" {
		return fault.Errorf(fault.FailedToParse, "empty variable names are not allowed")
	}
	for i := range len(name) {
		b := name[i]
		switch {
		case b >= 'a' && b <= 'z', b >= utf8.RuneSelf:
		case i > 0 && (b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_'):
		default:
			return fault.Errorf(fault.FailedToParse, "'%s' is not a valid name for a user variable: '%c' cannot be at %d", name, b, i)
		}
	}
	return nil
}

// CheckVariable checks the name of a variable that a user defines.
func CheckVariable(name string) error { return checkName(name) }

// typeName returns MongoDB's name of v's type; "missing" for none.
func typeName(v value.Value) string {
	switch v.Type {
	case 0:
		return "missing"
	case bson.TypeDouble:
		return "double"
	case bson.TypeString:
		return "string"
	case bson.TypeEmbeddedDocument:
		return "object"
	case bson.TypeArray:
		return "array"
	case bson.TypeBinary:
		return "binData"
	case bson.TypeUndefined:
		return "undefined"
	case bson.TypeObjectID:
		return "objectId"
	case bson.TypeBoolean:
		return "bool"
	case bson.TypeDateTime:
		return "date"
	case bson.TypeNull:
		return "null"
	case bson.TypeRegex:
		return "regex"
	case bson.TypeDBPointer:
		return "dbPointer"
	case bson.TypeJavaScript:
		return "javascript"
	case bson.TypeSymbol:
		return "symbol"
	case bson.TypeCodeWithScope:
		return "javascriptWithScope"
	case bson.TypeInt32:
		return "int"
	case bson.TypeTimestamp:
		return "timestamp"
	case bson.TypeInt64:
		return "long"
	case bson.TypeDecimal128:
		return "decimal"
	case bson.TypeMinKey:
		return "minKey"
	}
	return "maxKey"
}

// TypeName returns MongoDB's name of v's type, as "objectId"; "missing" for the
// zero Value.
func TypeName(v value.Value) string { return typeName(v) }
