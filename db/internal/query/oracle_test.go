package query_test

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/update"
	"github.com/weftdb/weft/db/internal/value"
)

// An oracleCase is one line of testdata/oracle: a question to MongoDB-like
// engines and the answer on which they agree.
type oracleCase struct {
	Kind, ID, Cat, Dataset                string
	Docs                                  []json.RawMessage
	Filter, Sort, Projection, Update, Doc json.RawMessage
	Skip, Limit                           int
	Expect                                struct {
		IDs     []int
		Docs    []json.RawMessage
		Doc     json.RawMessage
		Matched int
	}
	Alt    map[string]json.RawMessage
	failed error // of our update
}

// A failer is a test or a property.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func parse(t failer, text json.RawMessage) []byte {
	t.Helper()
	if text == nil {
		return nil
	}
	doc, err := value.ParseJSON(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return doc
}

// solid is the number of questions in testdata/oracle/mongo_solid.jsonl.gz.
const solid = 2784

// TestOracle holds the engine to the answers on which outside implementations
// agree: every question is answered, and the same. WEFT_ORACLE names another file.
func TestOracle(t *testing.T) {
	name := cmp.Or(os.Getenv("WEFT_ORACLE"), "../../../testdata/oracle/mongo_solid.jsonl.gz")
	n := 0
	eachCase(t, name, func(c *oracleCase, docs [][]byte) {
		if why := c.check(t, docs); why != "" {
			t.Errorf("%s %s %s\n filter %s update %s sort %s projection %s doc %s\n%s", c.ID, c.Kind, c.Cat, c.Filter, c.Update, c.Sort, c.Projection, c.Doc, why)
			return
		}
		n++
	})
	if os.Getenv("WEFT_ORACLE") == "" && n != solid && !t.Failed() {
		t.Errorf("answered %d of %d", n, solid)
	}
	t.Logf("%d the same", n)
}

// eachCase calls f with every question of a file and the documents of its set.
func eachCase(t *testing.T, name string, f func(c *oracleCase, docs [][]byte)) {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var r io.Reader = file
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(file); err != nil {
			t.Fatal(err)
		}
	}
	sets := map[string][][]byte{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c oracleCase
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		if c.Kind != "docs" {
			f(&c, sets[c.Dataset])
			continue
		}
		for _, d := range c.Docs {
			sets[c.Dataset] = append(sets[c.Dataset], parse(t, d))
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

func (c *oracleCase) check(t *testing.T, docs [][]byte) string {
	switch c.Kind {
	case "find", "many":
	case "update":
		got, err := applied(t, c.Update, parse(t, c.Doc))
		return differ(got, c.Expect.Doc, err, t)
	default:
		return "  unknown kind"
	}
	f, err := query.Compile(parse(t, c.Filter))
	if err != nil {
		return "  " + err.Error()
	}
	var found, all [][]byte
	for _, d := range docs {
		all = append(all, d)
		if f.Match(d) {
			found = append(found, d)
			if c.Kind == "many" {
				if all[len(all)-1], err = applied(t, c.Update, d); err != nil {
					return "  " + err.Error()
				}
			}
		}
	}
	if c.Kind == "many" {
		if len(found) != c.Expect.Matched {
			return "  matched differs"
		}
		return differAll(all, c.Expect.Docs, t)
	}
	return c.checkFind(t, found)
}

func (c *oracleCase) checkFind(t *testing.T, found [][]byte) string {
	s, err := query.CompileSort(parse(t, c.Sort))
	if err != nil {
		return "  " + err.Error()
	}
	byKey := slices.Clone(found)
	slices.SortStableFunc(found, s.Compare)
	slices.SortStableFunc(byKey, func(a, b []byte) int { return bytes.Compare(s.Key(nil, a), s.Key(nil, b)) })
	for i := range found {
		if !bytes.Equal(found[i], byKey[i]) {
			return "  Compare and Key disagree"
		}
	}
	found = found[min(c.Skip, len(found)):]
	if c.Limit > 0 {
		found = found[:min(c.Limit, len(found))]
	}
	if c.Expect.Docs != nil {
		p, err := query.CompileProjection(parse(t, c.Projection))
		if err != nil {
			return "  " + err.Error()
		}
		for i, d := range found {
			found[i] = p.Apply(nil, d)
		}
		return differAll(found, c.Expect.Docs, t)
	}
	ids := []int{}
	for _, d := range found {
		ids = append(ids, int(value.Get(d, "_id").Int()))
	}
	if c.Sort == nil {
		slices.Sort(ids)
	}
	if !slices.Equal(ids, c.Expect.IDs) {
		got, _ := json.Marshal(ids)
		want, _ := json.Marshal(c.Expect.IDs)
		return "  got  " + string(got) + "\n  want " + string(want)
	}
	return ""
}

func applied(t *testing.T, upd json.RawMessage, doc []byte) ([]byte, error) {
	u, err := update.Compile(parse(t, upd), nil)
	if err != nil {
		return nil, err
	}
	got, _, err := u.Apply(doc, update.Context{})
	if err == nil {
		err = value.Validate(got)
	}
	return got, err
}

// differ compares the documents as JSON objects: 1 and 1.0 are the same and
// the order of fields does not count.
func differ(got []byte, want json.RawMessage, err error, t *testing.T) string {
	if err != nil {
		return "  " + err.Error()
	}
	w := parse(t, want)
	var a, b any
	if err := errors.Join(json.Unmarshal(value.AppendJSON(nil, got, false), &a), json.Unmarshal(value.AppendJSON(nil, w, false), &b)); err != nil {
		return "  " + err.Error()
	}
	if reflect.DeepEqual(a, b) {
		return ""
	}
	return "  got  " + string(value.AppendJSON(nil, got, false)) + "\n  want " + string(value.AppendJSON(nil, w, false))
}

func differAll(got [][]byte, want []json.RawMessage, t *testing.T) string {
	if len(got) != len(want) {
		return "  number of documents differs"
	}
	var all []string
	for i := range got {
		if d := differ(got[i], want[i], nil, t); d != "" {
			all = append(all, d)
		}
	}
	return strings.Join(all, "\n")
}
