package pipeline

import (
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// An Into says that the results of a pipeline are written into a collection. The pipeline
// itself does not write: whoever runs it does.
type Into struct {
	Op         string // $out: they take the place of its documents; $merge: they are merged with them
	Collection string

	// Of $merge:
	On         []string // fields by which a document is found; ["_id"] if none were given
	Matched    string   // replace, keepExisting, merge, fail, or "" for Update
	NotMatched string   // insert, discard or fail
	Update     *Pipeline
	let        []*expr.Expr
}

// An intoStage is $out or $merge. It is the last, and never opened.
type intoStage struct{ Into }

func (s *intoStage) open(*run, Cursor) (Cursor, error) {
	return nil, fault.Errorf(fault.InvalidPipeline, "%s is not allowed within another stage", s.Op)
}

// into compiles a collection's name, or the options of $out or $merge.
func (c *compiler) into(op string, arg value.Value) (stage, error) {
	if c.depth > 0 {
		return nil, fault.Errorf(fault.InvalidPipeline, "%s is not allowed within another stage", op)
	}
	s := &intoStage{Into{Op: op, On: []string{"_id"}, Matched: "merge", NotMatched: "insert"}}
	switch {
	case arg.Type == bson.TypeString:
		s.Collection = string(arg.Str())
	case !arg.IsDoc():
		return nil, fault.Errorf(fault.TypeMismatch, "%s only supports a string or object argument, but found %s", op, expr.TypeName(arg))
	case op == "$out":
		if err := s.target(arg); err != nil {
			return nil, err
		}
	default:
		if err := c.merge(s, arg); err != nil {
			return nil, err
		}
	}
	if s.Collection == "" {
		return nil, fault.Errorf(fault.FailedToParse, "%s needs the name of a collection", op)
	}
	return s, nil
}

// target reads {coll: name}, or the name alone. A database has no name that others know it
// by, so a pipeline cannot write into another one.
func (s *intoStage) target(v value.Value) error {
	if v.Type == bson.TypeString {
		s.Collection = string(v.Str())
		return nil
	}
	it := value.Elements(v.Data)
	for k, e, ok := it.Next(); ok; k, e, ok = it.Next() {
		switch {
		case string(k) == "db":
			return fault.Errorf(fault.CommandNotSupported, "%s writes into the database that it reads: leave 'db' out", s.Op)
		case string(k) == "coll" && e.Type == bson.TypeString:
			s.Collection = string(e.Str())
		default:
			return fault.Errorf(fault.FailedToParse, "BSON field '%s.%s' is an unknown field, or no string.", s.Op, k)
		}
	}
	return nil
}

// merge compiles {into, on, let, whenMatched, whenNotMatched}.
func (c *compiler) merge(s *intoStage, arg value.Value) error {
	names := append(slices.Clone(c.vars), "new")
	var matched value.Value
	it := value.Elements(arg.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		var err error
		switch key := string(k); key {
		case "into":
			err = s.target(v)
		case "on":
			s.On, err = fieldsOn(v)
		case "let":
			var more []string
			l := &lookupStage{}
			if more, err = c.let(s.Op, v, l); err == nil {
				names, s.let = append(names, more[len(c.vars):]...), l.vars
			}
		case "whenMatched":
			matched = v
		case "whenNotMatched":
			if s.NotMatched = string(v.Str()); v.Type != bson.TypeString || !slices.Contains([]string{"insert", "discard", "fail"}, s.NotMatched) {
				err = fault.Errorf(fault.BadValue, "Enumeration value '%s' for field '$merge.whenNotMatched' is not a valid value.", value.AppendJSONValue(nil, v, false))
			}
		default:
			err = fault.Errorf(fault.FailedToParse, "BSON field '$merge.%s' is an unknown field.", key)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case matched.IsArray():
		s.Matched = ""
		return c.update(s, matched, names)
	case s.let != nil:
		return fault.Errorf(fault.FailedToParse, "Cannot use 'let' variables with 'whenMatched: %s' mode", s.Matched)
	case matched.Exists():
		if s.Matched = string(matched.Str()); !slices.Contains([]string{"replace", "keepExisting", "merge", "fail"}, s.Matched) {
			return fault.Errorf(fault.BadValue, "Enumeration value '%s' for field '$merge.whenMatched' is not a valid value.", value.AppendJSONValue(nil, matched, false))
		}
	}
	return nil
}

// update compiles the pipeline that says what becomes of a document that is there: of the
// stages that make one document of one.
func (c *compiler) update(s *intoStage, v value.Value, names []string) (err error) {
	it := value.Elements(v.Data)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		fields := value.Elements(e.Data)
		name, _, _ := fields.Next()
		if !slices.Contains([]string{"$addFields", "$set", "$project", "$unset", "$replaceRoot", "$replaceWith"}, string(name)) {
			return fault.Errorf(fault.InvalidOptions, "%s is not allowed to be used within an update", name)
		}
	}
	s.Update, err = c.sub(s.Op, v, names, true)
	return err
}

// fieldsOn reads a field or a list of them.
func fieldsOn(v value.Value) (out []string, err error) {
	if v.Type == bson.TypeString {
		return []string{string(v.Str())}, nil
	}
	it := value.Elements(v.Data)
	for _, e, ok := it.Next(); ok && v.IsArray(); _, e, ok = it.Next() {
		name := string(e.Str())
		if e.Type != bson.TypeString || name == "" || slices.Contains(out, name) {
			return nil, fault.Errorf(fault.BadValue, "$merge: 'on' names each field once, as a string")
		}
		out = append(out, name)
	}
	if len(out) == 0 {
		return nil, fault.Errorf(fault.FailedToParse, "$merge: 'on' is a string or an array of strings that is not empty")
	}
	return out, nil
}

// Merged returns what Update makes of a document that is there and of the result for it.
func (i *Into) Merged(there, result []byte, o Options) ([]byte, error) {
	vars := append(slices.Clone(o.Vars), value.Doc(result))
	env := &expr.Env{Now: o.Now.UnixMilli(), Vars: o.Vars, Root: result, Stop: o.Stop}
	for _, x := range i.let {
		v, err := x.Eval(env)
		if err != nil {
			return nil, err
		}
		vars = append(vars, value.Value{Type: v.Type, Data: slices.Clone(v.Data)})
	}
	r := &run{stop: o.Stop, now: o.Now, vars: vars, mem: &memory{most: MaxBytes}}
	c, err := i.Update.over(r, &list{docs: [][]byte{there}})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	doc, err := c.Next()
	return slices.Clone(doc), err
}
