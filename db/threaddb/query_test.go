package threaddb_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/threaddb"
)

const books = `{"_id":"a","title":"Title1","banned":true,"meta":{"reads":100,"rating":3.2}}
{"_id":"b","title":"Title2","banned":false,"meta":{"reads":150,"rating":4.1}}
{"_id":"c","title":"Title3","banned":false,"meta":{"reads":120,"rating":4.6}}
{"_id":"d","title":"Title4","banned":true,"meta":{"reads":1000,"rating":2.6}}
{"_id":"e"}`

// Queries answer as they read; the document without fields ends none.
func TestQueries(t *testing.T) {
	x, _ := dbtest.Open(t, "a")
	c := x.Collection("books")
	for line := range strings.SplitSeq(books, "\n") {
		doc, err := db.ParseJSON([]byte(line))
		if err == nil {
			_, err = c.Insert(t.Context(), doc)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	and := func(path string, op int, value string) string {
		return fmt.Sprintf(`{"fieldPath":%q,"operation":%d,"value":%s}`, path, op, value)
	}
	for _, q := range []struct{ query, want string }{
		{`{}`, "abcde"},
		{`{"ands":null,"ors":null,"sort":{"fieldPath":"","desc":false},"seek":"","limit":0,"skip":0,"index":""}`, "abcde"},
		{`{"ands":[` + and("title", 0, `{"string":"Title2"}`) + `]}`, "b"},
		{`{"ands":[{"fieldPath":"banned","value":{"bool":true}}]}`, "ad"},
		{`{"Ands":[{"FieldPath":"meta.reads","Operation":2,"Value":{"String":null,"Bool":null,"Float":100}}]}`, "bcd"},
		{`{"ands":[` + and("meta.reads", 4, `{"float":120}`) + `,` + and("banned", 0, `{"bool":false}`) + `]}`, "bc"},
		{`{"ands":[` + and("meta.rating", 3, `{"float":3.2}`) + `],"ors":[{"ands":[` + and("title", 0, `{"string":"Title3"}`) + `]}]}`, "cd"},
		{`{"ands":[` + and("meta.rating", 5, `{"float":3.2}`) + `],"ors":[{"ands":[` + and("title", 0, `{"string":"x"}`) + `],"ors":[{"ands":[` + and("title", 0, `{"string":"Title2"}`) + `]}]}]}`, "abd"},
		{`{"ands":[` + and("banned", 1, `{"bool":true}`) + `]}`, "bce"},
		{`{"ors":[{"ands":[` + and("title", 0, `{"string":"Title2"}`) + `]}]}`, "abcde"},
		{`{"ands":[` + and("meta.reads", 2, `{"float":0}`) + `],"sort":{"fieldPath":"meta.reads","desc":true},"limit":2}`, "db"},
		{`{"sort":{"fieldPath":"_id","desc":true},"seek":"c"}`, "cba"},
		{`{"seek":"b","limit":2}`, "bc"},
		{`{"skip":3}`, "de"},
		{`{"ands":[` + and("_mod", 2, `{"float":1}`) + `]}`, "abcde"},
		{`{"ands":[` + and("_mod", 3, `{"float":1}`) + `]}`, ""},
	} {
		parsed, err := threaddb.Parse([]byte(q.query))
		if err != nil {
			t.Errorf("%s: %v", q.query, err)
			continue
		}
		cur, err := c.Find(t.Context(), parsed.Filter, parsed.Options())
		if err != nil {
			t.Errorf("%s: %v", q.query, err)
			continue
		}
		got := ""
		for cur.Next() {
			got += cur.Raw().Lookup("_id").StringValue()
		}
		if cur.Close(); got != q.want {
			t.Errorf("%s: got %q, want %q", q.query, got, q.want)
		}
	}
}

// What is no query of ThreadDB is refused.
func TestBadQueries(t *testing.T) {
	deep := strings.Repeat(`{"ands":[{"fieldPath":"a","value":{"bool":true}}],"ors":[`, 40) + `{}` + strings.Repeat(`]}`, 40)
	for _, q := range []string{
		``, `[]`, `{}{}`, `{"where":{}}`, `{"ands":{}}`, `{"ands":[{}]}`, `{"ands":[{"fieldPath":"a"}]}`,
		`{"ands":[{"fieldPath":"a","operation":6,"value":{"bool":true}}]}`, `{"ands":[{"fieldPath":"a","operation":"in","value":{"bool":true}}]}`,
		`{"ands":[{"fieldPath":"a","value":{"bool":true,"float":1}}]}`, `{"ands":[{"fieldPath":"a","value":{"int":1}}]}`, `{"ands":[{"fieldPath":"$where","value":{"bool":true}}]}`,
		`{"ands":[{"fieldPath":"a..b","value":{"bool":true}}]}`, `{"limit":-1}`, `{"skip":1.5}`, `{"sort":{"desc":true}}`, `{"sort":{"fieldPath":"a"},"seek":"b"}`,
		`{"ands":[{"fieldPath":"a","value":{"bool":true}}],"ors":[{"limit":1}]}`, `{"limit":1,"Limit":2}`, deep,
	} {
		if got, err := threaddb.Parse([]byte(q)); !errors.Is(err, threaddb.ErrQuery) {
			t.Errorf("%.80s: got %v, %v", q, got.Filter, err)
		}
	}
}

// Whatever comes is a query that package db takes, or an error.
func FuzzParse(f *testing.F) {
	f.Add(`{"ands":[{"fieldPath":"a.b","operation":2,"value":{"float":1e300}}],"ors":[{"ands":[]}],"sort":{"fieldPath":"x","desc":true},"limit":3}`)
	f.Fuzz(func(t *testing.T, text string) {
		q, err := threaddb.Parse([]byte(text))
		if err != nil {
			return
		}
		if err := q.Filter.Validate(); err != nil {
			t.Error(err)
		}
		if q.Sort != nil && bson.Raw(q.Sort).Validate() != nil {
			t.Error("bad sort")
		}
	})
}
