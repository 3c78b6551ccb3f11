package query_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
)

func TestProjectionErrors(t *testing.T) {
	for spec, want := range map[string]string{
		`{"a":1,"b":0}`:                   "Cannot do exclusion on field b in inclusion projection",
		`{"a":0,"b":1}`:                   "Cannot do inclusion on field b in exclusion projection",
		`{"a":1,"a.b":1}`:                 "Path collision at a.b",
		`{"a.b":1,"a":1}`:                 "Path collision at a",
		`{"a.$":0}`:                       "positional projection cannot be used with exclusion",
		`{"a.$":1,"b.$":1}`:               "Cannot specify more than one positional",
		`{"a.$":1,"b":{"$elemMatch":{}}}`: "Cannot specify positional operator and $elemMatch",
		`{"a.$.b":1}`:                     "a.$.b: the positional operator may only be used at the end",
		`{"$a":1}`:                        "may not start with '$'",
		`{"a":0,"b":"$c"}`:                "Cannot use an expression in an exclusion projection (failed_to_parse)",
		`{"b":"$c","a":0}`:                "Cannot do exclusion on field a in inclusion projection (failed_to_parse)",
		`{"a":{"$foo":1}}`:                "a: Unrecognized expression '$foo'",
		`{"a":{"$rand":{}}}`:              "a: ",
		`{"a":{}}`:                        "An empty sub-projection is not a valid value. Found empty object at path (failed_to_parse)",
		`{"a":{"$meta":"x"}}`:             "Unsupported argument to $meta",
		`{"a":{"$slice":"x"}}`:            "$slice",
		`{"a":{"$elemMatch":1}}`:          "object required",
		`{"a.b":{"$elemMatch":{}}}`:       "nested field",
	} {
		_, err := query.CompileProjection(parse(t, []byte(spec)))
		if err == nil || !strings.Contains(said(err), want) {
			t.Errorf("%s: got %v, want %s", spec, err, want)
		}
	}
}

func TestProjection(t *testing.T) {
	for _, c := range []struct{ spec, doc, want string }{
		{`{"a":{"$slice":-2}}`, `{"_id":1,"a":[1,2,3],"b":1}`, `{"_id":1,"a":[2,3],"b":1}`},
		{`{"a":{"$slice":[1,1]},"b":1}`, `{"_id":1,"a":[1,2,3],"b":1,"c":1}`, `{"_id":1,"a":[2],"b":1}`},
		{`{"a":{"$elemMatch":{"x":{"$gt":1}}}}`, `{"_id":1,"a":[{"x":1},{"x":2},{"x":3}],"b":1}`, `{"_id":1,"a":[{"x":2}]}`},
		{`{"a":{"b":1},"_id":0}`, `{"_id":1,"a":[{"b":1,"c":2},3,[{"b":4}]]}`, `{"a":[{"b":1},[{"b":4}]]}`},
		{`{"a.b":0}`, `{"_id":1,"a":[{"b":1,"c":2},3]}`, `{"_id":1,"a":[{"c":2},3]}`},
		{`{"_id":1}`, `{"_id":1,"a":2}`, `{"_id":1}`},
		{`{"_id":0}`, `{"_id":1,"a":2}`, `{"a":2}`},
		{`{"a":0,"_id":1}`, `{"_id":1,"a":2,"b":3}`, `{"_id":1,"b":3}`},
		{`{"_id.a":1}`, `{"_id":{"a":1,"b":2},"c":1}`, `{"_id":{"a":1}}`},
		{`{"a":"$b","c":1}`, `{"_id":1,"a":0,"b":2,"c":3}`, `{"_id":1,"c":3,"a":2}`},
		{`{"n":{"$add":["$b",1]},"m":"$none","x.y":"$b"}`, `{"_id":1,"b":2}`, `{"_id":1,"n":3,"x":{"y":2}}`},
		{`{"a.z":"$b"}`, `{"_id":1,"a":[{"c":1},5],"b":2}`, `{"_id":1,"a":[{"z":2},{"z":2}]}`},
		{`{"a":{"b":1,"z":"$b"},"_id":0}`, `{"_id":1,"a":{"b":1,"c":2},"b":[2]}`, `{"a":{"b":1,"z":[2]}}`},
		{`{"a":"text","_id":0}`, `{"_id":1}`, `{"a":"text"}`},
		{`{"a":{"$slice":["$a",1]},"_id":0}`, `{"_id":1,"a":[1,2]}`, `{"a":[1]}`},
		{`{"a.b":{"$slice":1}}`, `{"_id":1,"a":[{"b":[1,2]},{"b":[3,4]}]}`, `{"_id":1,"a":[{"b":[1]},{"b":[3]}]}`},
	} {
		p, err := query.CompileProjection(parse(t, []byte(c.spec)))
		if err != nil {
			t.Errorf("%s: %v", c.spec, err)
			continue
		}
		got := p.Apply(nil, parse(t, []byte(c.doc)))
		if !bytes.Equal(got, parse(t, []byte(c.want))) {
			t.Errorf("%s on %s: got %s, want %s", c.spec, c.doc, value.AppendJSON(nil, got, false), c.want)
		}
	}
}

func TestProjectContext(t *testing.T) {
	for _, c := range []struct{ filter, spec, doc, want string }{
		{`{"a":2}`, `{"a.$":1}`, `{"_id":1,"a":[1,2,2],"b":3}`, `{"_id":1,"a":[2]}`},
		{`{"a.k":2}`, `{"a.$":1,"_id":0}`, `{"_id":1,"a":[{"k":1},{"k":2,"x":1}]}`, `{"a":[{"k":2,"x":1}]}`},
		{`{"o.a":2}`, `{"o.a.$":1,"b":1}`, `{"_id":1,"o":{"a":[1,2],"c":1},"b":3}`, `{"_id":1,"o":{"a":[2]},"b":3}`},
		{`{"b":1}`, `{"a.$":1}`, `{"_id":1,"a":1,"b":1}`, `{"_id":1,"a":1}`},
		{`{"b":1}`, `{"a.$":1}`, `{"_id":1,"a":[1],"b":1}`, "couldn't find a matching element"},
		{`{"b":1}`, `{"a.$":1}`, `{"_id":1,"a":[1],"b":[2,1]}`, "element mismatch"},
		{`{}`, `{"a":{"$divide":[1,"$z"]}}`, `{"_id":1,"z":0}`, "$divide"},
		{`{}`, `{"s":{"$meta":"textScore"}}`, `{"_id":1,"z":0}`, `{"_id":1,"z":0,"s":1.5}`},
		{`{}`, `{"s":{"$meta":"textScore"},"z":1}`, `{"_id":1,"y":1,"z":0,"s":1}`, `{"_id":1,"z":0,"s":1.5}`},
		{`{}`, `{"t":"$$NOW"}`, `{"_id":1}`, `{"_id":1,"t":{"$date":{"$numberLong":"5000"}}}`},
	} {
		p, err := query.CompileProjection(parse(t, []byte(c.spec)))
		if err != nil {
			t.Errorf("%s: %v", c.spec, err)
			continue
		}
		ctx := query.Context{Filter: mustFilter(t, c.filter), Now: time.UnixMilli(5000), Score: 1.5}
		got, err := p.Project(nil, parse(t, []byte(c.doc)), ctx)
		switch {
		case c.want[0] != '{':
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s on %s: got %v, want %s", c.spec, c.doc, err, c.want)
			}
		case err != nil || !bytes.Equal(got, parse(t, []byte(c.want))):
			t.Errorf("%s on %s: got %s %v, want %s", c.spec, c.doc, value.AppendJSON(nil, got, false), err, c.want)
		}
	}
}
