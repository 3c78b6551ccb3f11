package query_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

const (
	disputed        = 1430
	disputedCases   = "../../../testdata/oracle/mongo_disputed.jsonl.gz"
	disputedAnswers = "../../../testdata/oracle/mongo_disputed.answers"
)

// A category is one cause of dispute; docs/design/query.md has its question,
// our answer and the reason under the same name.
type category struct {
	name string
	of   func(c *oracleCase, f features) bool
}

// features is what a question asks: its operators, and shapes of arguments.
type features map[string]bool

// scan notes the operators in v and, as "$op:type", what their arguments are.
func (f features) scan(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			f.scan(e)
		}
	case map[string]any:
		for k, e := range v {
			f[k] = true
			f.note(k, e)
			f.scan(e)
		}
	}
}

func (f features) note(k string, e any) {
	switch e := e.(type) {
	case nil:
		f[k+":null"] = true
		if !strings.HasPrefix(k, "$") {
			f["$eq:null"] = true
		}
	case []any:
		f[k+":array"] = true
		for _, x := range e {
			switch x.(type) {
			case nil:
				f[k+":[null"] = true
			case []any:
				f[k+":[array"] = true
			}
		}
		if !strings.HasPrefix(k, "$") {
			f["$eq:array"] = true
		}
	case map[string]any:
		f[k+":object"] = true
	}
	if !strings.HasPrefix(k, "$") {
		f["path"] = f["path"] || strings.Contains(k, ".")
	}
}

func (f features) any(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return f[n] })
}

func ops(names ...string) func(*oracleCase, features) bool {
	return func(_ *oracleCase, f features) bool { return f.any(names...) }
}

// categories are asked in order: the first that is true is the case's.
var categories = []category{
	{"expr", ops("$expr")},
	{"update-type", func(c *oracleCase, _ features) bool {
		return c.failed != nil && !fault.Is(c.failed, fault.PathNotViable)
	}},
	{"update-path", func(c *oracleCase, _ features) bool { return c.failed != nil }},
	{"type", ops("$type")},
	{"mod", ops("$mod")},
	{"elemMatch", ops("$elemMatch")},
	{"all", ops("$all")},
	{"size", ops("$size")},
	{"null-range", ops("$gt:null", "$gte:null", "$lt:null", "$lte:null")},
	{"array-range", ops("$gt:array", "$gte:array", "$lt:array", "$lte:array")},
	{"object-range", ops("$gt:object", "$gte:object", "$lt:object", "$lte:object")},
	{"slice", func(c *oracleCase, f features) bool { return c.Projection != nil && f["$slice"] }},
	{"push", ops("$push")},
	{"pull", ops("$pull", "$pullAll")},
	{"set-member", ops("$addToSet")},
	{"pop", ops("$pop")},
	{"unset", ops("$unset")},
	{"arithmetic", ops("$inc", "$mul", "$bit")},
	{"assign", ops("$set", "$min", "$max", "$rename")},
	{"in-array", ops("$in:[array", "$nin:[array")},
	{"missing", ops("$eq:null", "$ne:null", "$in:[null", "$nin:[null", "$exists")},
	{"array-equality", ops("$eq:array", "$ne:array")},
	{"negation", ops("$ne", "$nin", "$not", "$nor")},
	{"sort", func(c *oracleCase, _ features) bool { return len(c.Sort) > 0 && c.Projection == nil }},
	{"projection", func(c *oracleCase, _ features) bool { return c.Projection != nil }},
	{"array-member", func(c *oracleCase, _ features) bool { return c.Kind == "find" }},
}

func (c *oracleCase) category(t *testing.T) string {
	f := features{}
	for _, raw := range []json.RawMessage{c.Filter, c.Update, c.Projection} {
		var v any
		if raw != nil {
			if err := json.Unmarshal(raw, &v); err != nil {
				t.Fatal(err)
			}
		}
		f.scan(v)
	}
	for _, k := range categories {
		if k.of(c, f) {
			return k.name
		}
	}
	return ""
}

// answer is what this engine says: ids, documents or an error's kind.
func (c *oracleCase) answer(t *testing.T, docs [][]byte) string {
	var out []byte
	if c.Kind == "update" {
		got, err := applied(t, c.Update, parse(t, c.Doc))
		if err != nil {
			c.failed = err
			return fmt.Sprintf("error %s", fault.KindOf(err))
		}
		return string(value.AppendJSON(nil, got, false))
	}
	f, err := query.Compile(parse(t, c.Filter))
	if err != nil {
		return "unanswered: " + err.Error()
	}
	var found [][]byte
	for _, d := range docs {
		ok, err := f.Test(d)
		if err != nil {
			return "unanswered: " + err.Error()
		}
		if ok {
			found = append(found, d)
		}
	}
	if c.Kind == "many" {
		out = fmt.Appendf(out, "%d", len(found))
		for _, d := range found {
			got, err := applied(t, c.Update, d)
			if err != nil {
				c.failed = err
				return fmt.Sprintf("error %s", fault.KindOf(err))
			}
			out = value.AppendJSON(append(out, ' '), got, false)
		}
		return string(out)
	}
	if found, err = c.page(t, found); err != nil {
		return "unanswered: " + err.Error()
	}
	for _, d := range found {
		out = append(out, ' ')
		if c.Projection != nil {
			out = value.AppendJSON(out, d, false)
		} else {
			out = fmt.Appendf(out, "%d", value.Get(d, "_id").Int())
		}
	}
	return strings.TrimSpace(string(out))
}

// page sorts, cuts and projects what a find found.
func (c *oracleCase) page(t *testing.T, found [][]byte) ([][]byte, error) {
	s, err := query.CompileSort(parse(t, c.Sort))
	if err != nil {
		return nil, err
	}
	p, err := query.CompileProjection(parse(t, c.Projection))
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(found, s.Compare)
	found = found[min(c.Skip, len(found)):]
	if c.Limit > 0 {
		found = found[:min(c.Limit, len(found))]
	}
	for i, d := range found {
		found[i] = p.Apply(nil, d)
	}
	return found, nil
}

// follows names the implementation whose answer is ours, or nobody.
func (c *oracleCase) follows(t *testing.T, docs [][]byte) string {
	if c.failed != nil {
		return "error"
	}
	if c.check(t, docs) == "" {
		return "expect"
	}
	for _, name := range []string{"wire", "sift", "nedb"} {
		var alt oracleCase
		if json.Unmarshal(c.Alt[name], &alt.Expect) != nil || c.Alt[name] == nil {
			continue
		}
		other := *c
		if other.Expect = alt.Expect; other.check(t, docs) == "" {
			return name
		}
	}
	return "own"
}

// TestDisputed: every question on which implementations differ has a category,
// and our answer to it is the one recorded when the category was decided: the
// answer of an implementation, an error, or one of our own. WEFT_RECORD writes
// the record anew.
func TestDisputed(t *testing.T) {
	got := []string{}
	count := map[string]int{}
	eachCase(t, disputedCases, func(c *oracleCase, docs [][]byte) {
		answer := c.answer(t, docs)
		if strings.HasPrefix(answer, "unanswered") {
			t.Errorf("%s %s %s: %s", c.ID, c.Cat, c.Filter, answer)
		}
		name := c.category(t)
		if name == "" {
			t.Errorf("%s %s %s: no category", c.ID, c.Cat, c.Filter)
		}
		count[name]++
		line := c.ID + " " + name + " " + c.follows(t, docs)
		if strings.HasSuffix(line, " own") || c.failed != nil {
			line += " " + answer
		}
		got = append(got, line)
	})
	if len(got) != disputed {
		t.Errorf("%d questions, want %d", len(got), disputed)
	}
	t.Log(count)
	if os.Getenv("WEFT_RECORD") != "" {
		if err := os.WriteFile(disputedAnswers, []byte(strings.Join(got, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	record, err := os.ReadFile(disputedAnswers)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(record))
	lines.Buffer(nil, 1<<20)
	i := 0
	for ; lines.Scan(); i++ {
		if i < len(got) && got[i] != lines.Text() {
			t.Errorf("got\n %s\nrecorded\n %s", got[i], lines.Text())
		}
	}
	if i != len(got) {
		t.Errorf("%d recorded, %d asked", i, len(got))
	}
}

// TestDisputedDocumented: the design page has a line for every category.
func TestDisputedDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/design/query.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range categories {
		if !bytes.Contains(page, []byte("| "+k.name+" |")) {
			t.Errorf("docs/design/query.md does not decide %q", k.name)
		}
	}
}
