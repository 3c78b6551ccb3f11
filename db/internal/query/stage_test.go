package query_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
)

func compileStage(op string, spec value.Value) (*query.Projection, error) {
	switch op {
	case "$project":
		return query.CompileProject(spec)
	case "$unset":
		return query.CompileUnset(spec)
	}
	return query.CompileAddFields(op, spec)
}

func TestStages(t *testing.T) {
	for _, c := range []struct{ stage, doc, want string }{
		{`{"$set":{"a":"$b","c.d":1,"e":{"f":"x"}}}`, `{"_id":1,"a":0,"b":2,"c":5}`, `{"_id":1,"a":2,"b":2,"c":{"d":1},"e":{"f":"x"}}`},
		{`{"$addFields":{"a.n":1}}`, `{"_id":1,"a":[{"b":1},2,[3]]}`, `{"_id":1,"a":[{"b":1,"n":1},{"n":1},[{"n":1}]]}`},
		{`{"$set":{"a":"$none","b":"$$REMOVE"}}`, `{"_id":1,"a":0,"b":2}`, `{"_id":1}`},
		{`{"$set":{"a":{}}}`, `{"_id":1,"a":0}`, `{"_id":1,"a":{}}`},
		{`{"$set":{"a":false,"b":0}}`, `{"_id":1}`, `{"_id":1,"a":false,"b":0}`},
		{`{"$unset":"a.b"}`, `{"_id":1,"a":[{"b":1,"c":2},3]}`, `{"_id":1,"a":[{"c":2},3]}`},
		{`{"$unset":["a","_id"]}`, `{"_id":1,"a":0,"b":2}`, `{"b":2}`},
		{`{"$project":{"b":1,"x":"$a"}}`, `{"_id":1,"a":0,"b":2}`, `{"_id":1,"b":2,"x":0}`},
		{`{"$project":{"a":0}}`, `{"_id":1,"a":0,"b":2}`, `{"_id":1,"b":2}`},
		{`{"$project":{"a":1}}`, `{"_id":1,"b":2}`, `{"_id":1}`},
		{`{"$set":{"a":[1,"$b"]}}`, `{"b":2}`, `{"b":2,"a":[1,2]}`},
		{`{"$set":5}`, `{}`, "must be an object"},
		{`{"$set":{"a":1,"a.b":2}}`, `{}`, "Path collision"},
		{`{"$set":{"$a":1}}`, `{}`, "may not start with '$'"},
		{`{"$unset":[]}`, `{}`, "at least one field (bad_value)"},
		{`{"$unset":[1]}`, `{}`, "only string values (type_mismatch)"},
		{`{"$unset":1}`, `{}`, "must be a string or an array (type_mismatch)"},
		{`{"$project":{}}`, `{}`, "at least one field (failed_to_parse)"},
		{`{"$project":{"a.$":1}}`, `{}`, "Cannot use positional projection in aggregation projection (failed_to_parse)"},
		{`{"$project":{"a":{"$elemMatch":{}}}}`, `{}`, "Unrecognized expression"},
	} {
		it := value.Elements(parse(t, []byte(c.stage)))
		op, spec, _ := it.Next()
		p, err := compileStage(string(op), spec)
		var got []byte
		if err == nil {
			got, err = p.Project(nil, parse(t, []byte(c.doc)), query.Context{})
		}
		switch {
		case c.want[0] != '{':
			if err == nil || !strings.Contains(said(err), c.want) {
				t.Errorf("%s: got %v, want %s", c.stage, err, c.want)
			}
		case err != nil || !bytes.Equal(got, parse(t, []byte(c.want))):
			t.Errorf("%s on %s: got %s %v, want %s", c.stage, c.doc, value.AppendJSON(nil, got, false), err, c.want)
		}
	}
}

// The variables of a scope are those of every expression in a filter, beside
// conditions on several fields too.
func TestScope(t *testing.T) {
	s := query.Scope{Vars: []string{"x"}}
	f, err := s.Compile(parse(t, []byte(`{"a":1,"b":2,"$or":[{"c":9},{"$expr":{"$eq":["$n","$$x"]}}]}`)))
	if err != nil {
		t.Fatal(err)
	}
	doc := parse(t, []byte(`{"a":1,"b":2,"n":7}`))
	for n, want := range map[int32]bool{7: true, 8: false} {
		if got := f.With([]value.Value{value.Int32(n)}).Match(doc); got != want {
			t.Errorf("x is %d: got %t", n, got)
		}
	}
	if _, err := query.Compile(parse(t, []byte(`{"$expr":"$$x"}`))); err == nil {
		t.Error("accepted a variable that there is not")
	}
}
