package pipeline_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/pipeline"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A memory source holds collections as lists.
type source map[string][][]byte

type cursor struct {
	docs [][]byte
	buf  []byte
}

func (c *cursor) Next() ([]byte, error) {
	if len(c.docs) == 0 {
		return nil, nil
	}
	// A document is valid until the next call only: say so.
	for i := range c.buf {
		c.buf[i] = 0xff
	}
	c.buf = append(c.buf[:0], c.docs[0]...)
	c.docs = c.docs[1:]
	return c.buf, nil
}

func (c *cursor) Close() { c.docs = nil }

func (s source) Open(name string, q pipeline.Query) (pipeline.Cursor, error) {
	f, err := query.Compile(q.Filter)
	if err != nil {
		return nil, err
	}
	var docs [][]byte
	for _, d := range s[name] {
		if f.Match(d) {
			docs = append(docs, d)
		}
	}
	if len(q.Sort) > 5 {
		by, err := query.CompileSort(q.Sort)
		if err != nil {
			return nil, err
		}
		for i := range docs { // stable and obviously right
			for j := i; j > 0 && by.Compare(docs[j], docs[j-1]) < 0; j-- {
				docs[j], docs[j-1] = docs[j-1], docs[j]
			}
		}
	}
	docs = docs[min(int(q.Skip), len(docs)):]
	if q.Limit > 0 {
		docs = docs[:min(int(q.Limit), len(docs))]
	}
	return &cursor{docs: docs}, nil
}

func docs(t testing.TB, text string) (out [][]byte) {
	t.Helper()
	v, err := value.ParseJSONValue([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	it := value.Elements(v.Data)
	for _, d, ok := it.Next(); ok; _, d, ok = it.Next() {
		out = append(out, d.Data)
	}
	return out
}

func stages(t testing.TB, text string) (out []bson.Raw) {
	for _, d := range docs(t, text) {
		out = append(out, d)
	}
	return out
}

func run(p *pipeline.Pipeline, s pipeline.Source, o pipeline.Options) (out [][]byte, err error) {
	o.Now = time.UnixMilli(1_700_000_000_000)
	c, err := p.Run(s, "c", o)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for {
		d, err := c.Next()
		if err != nil || d == nil {
			return out, err
		}
		out = append(out, bytes.Clone(d))
	}
}

func text(docs [][]byte) string {
	var b strings.Builder
	for i, d := range docs {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(value.AppendJSON(nil, d, true))
	}
	return "[" + b.String() + "]"
}

func aggregate(t testing.TB, s source, pipe string, o pipeline.Options) ([][]byte, error) {
	t.Helper()
	p, err := pipeline.Compile(stages(t, pipe))
	if err != nil {
		return nil, err
	}
	return run(p, s, o)
}

const sales = `[
	{"_id": 1, "item": "abc", "price": 10, "quantity": 2, "tags": ["a", "b"]},
	{"_id": 2, "item": "jkl", "price": 20, "quantity": 1, "tags": []},
	{"_id": 3, "item": "xyz", "price": 5, "quantity": 10, "tags": null},
	{"_id": 4, "item": "xyz", "price": 5, "quantity": 20},
	{"_id": 5, "item": "abc", "price": 10, "quantity": 10, "tags": "c"},
	{"_id": 6, "price": 7.5, "quantity": 5, "tags": ["b", "c"]}
]`

const stock = `[
	{"_id": 1, "sku": "abc", "n": 120}, {"_id": 2, "sku": "def", "n": 80}, {"_id": 3, "sku": "xyz", "n": 60},
	{"_id": 4, "sku": null}, {"_id": 5}, {"_id": 6, "sku": ["abc", "xyz"], "n": 7}
]`

func TestStages(t *testing.T) {
	s := source{"c": docs(t, sales), "stock": docs(t, stock)}
	for _, c := range []struct {
		name, pipe, want string
		kind             fault.Kind
		says             string // a part of the error
	}{
		{name: "match", pipe: `[{"$match": {"item": "xyz", "quantity": {"$gt": 10}}}, {"$project": {"item": 1}}]`, want: `[{"_id": 4, "item": "xyz"}]`},
		{name: "match $expr", pipe: `[{"$match": {"$expr": {"$gt": ["$quantity", "$price"]}}}, {"$project": {"_id": 1}}]`, want: `[{"_id": 3}, {"_id": 4}]`},
		{name: "match is an object", pipe: `[{"$match": 1}]`, kind: fault.TypeMismatch, says: "the match filter must be an expression in an object"},
		{
			name: "add and unset", pipe: `[{"$limit": 1}, {"$set": {"total": {"$multiply": ["$price", "$quantity"]}}}, {"$unset": ["tags", "item"]}]`,
			want: `[{"_id": 1, "price": 10, "quantity": 2, "total": 20}]`,
		},
		{name: "match after set", pipe: `[{"$set": {"x": {"$add": ["$_id", 1]}}}, {"$match": {"x": 3, "price": 20}}, {"$project": {"x": 1}}]`, want: `[{"_id": 2, "x": 3}]`},
		{name: "match after a project that drops", pipe: `[{"$project": {"item": 1}}, {"$match": {"price": 20}}]`, want: `[]`},
		{name: "match after a project that renames", pipe: `[{"$project": {"price": "$_id"}}, {"$match": {"price": 2}}]`, want: `[{"_id": 2, "price": 2}]`},
		{
			name: "sort, skip, limit", pipe: `[{"$sort": {"price": -1, "_id": 1}}, {"$skip": 1}, {"$limit": 2}, {"$project": {"price": 1}}]`,
			want: `[{"_id": 1, "price": 10}, {"_id": 5, "price": 10}]`,
		},
		{
			name: "sort later", pipe: `[{"$set": {"p": "$price"}}, {"$sort": {"p": 1}}, {"$skip": 1}, {"$limit": 2}, {"$project": {"p": 1}}]`,
			want: `[{"_id": 4, "p": 5}, {"_id": 6, "p": 7.5}]`,
		},
		{name: "limit before match", pipe: `[{"$limit": 2}, {"$match": {"item": "xyz"}}]`, want: `[]`},
		{name: "limit of zero", pipe: `[{"$limit": 0}]`, kind: fault.BadValue, says: "the limit must be positive"},
		{name: "negative skip", pipe: `[{"$skip": -1}]`, kind: fault.BadValue, says: "invalid argument to $skip stage: Expected a non-negative number in: $skip"},
		{name: "count", pipe: `[{"$match": {"price": 5}}, {"$count": "n"}]`, want: `[{"n": 2}]`},
		{name: "count of nothing", pipe: `[{"$match": {"price": 99}}, {"$count": "n"}]`, want: `[]`},
		{name: "count's name", pipe: `[{"$count": "a.b"}]`, kind: fault.BadValue, says: "the count field cannot contain '."},
		{
			name: "unwind", pipe: `[{"$unwind": "$tags"}, {"$project": {"tags": 1}}]`,
			want: `[{"_id": 1, "tags": "a"}, {"_id": 1, "tags": "b"}, {"_id": 5, "tags": "c"}, {"_id": 6, "tags": "b"}, {"_id": 6, "tags": "c"}]`,
		},
		{
			name: "unwind, all", pipe: `[{"$unwind": {"path": "$tags", "preserveNullAndEmptyArrays": true, "includeArrayIndex": "i"}}, {"$project": {"tags": 1, "i": 1}}]`,
			want: `[{"_id": 1, "tags": "a", "i": {"$numberLong": "0"}}, {"_id": 1, "tags": "b", "i": {"$numberLong": "1"}}, {"_id": 2, "i": null}, {"_id": 3, "tags": null, "i": null},
				{"_id": 4, "i": null}, {"_id": 5, "tags": "c", "i": null}, {"_id": 6, "tags": "b", "i": {"$numberLong": "0"}}, {"_id": 6, "tags": "c", "i": {"$numberLong": "1"}}]`,
		},
		{name: "unwind inside", pipe: `[{"$limit": 1}, {"$project": {"a.b": "$tags"}}, {"$unwind": "$a.b"}]`, want: `[{"_id": 1, "a": {"b": "a"}}, {"_id": 1, "a": {"b": "b"}}]`},
		{name: "unwind's path", pipe: `[{"$unwind": "tags"}]`, kind: fault.BadValue, says: "stage should be prefixed with a '$"},
		{name: "unwind's options", pipe: `[{"$unwind": {"path": "$tags", "x": 1}}]`, kind: fault.FailedToParse, says: "unrecognized option to"},
		{name: "replaceRoot", pipe: `[{"$limit": 1}, {"$replaceRoot": {"newRoot": {"x": "$item"}}}]`, want: `[{"x": "abc"}]`},
		{name: "replaceWith no object", pipe: `[{"$replaceWith": "$item"}]`, kind: fault.TypeMismatch, says: "newRoot' expression must evaluate to an object, but resulting value was of type"},
		{name: "sortByCount", pipe: `[{"$unwind": "$tags"}, {"$sortByCount": "$tags"}]`, want: `[{"_id": "b", "count": 2}, {"_id": "c", "count": 2}, {"_id": "a", "count": 1}]`},
		{
			name: "bucket", pipe: `[{"$bucket": {"groupBy": "$price", "boundaries": [0, 6, 10], "default": "other", "output": {"n": {"$sum": 1}, "ids": {"$push": "$_id"}}}}]`,
			want: `[{"_id": 0, "n": 2, "ids": [3, 4]}, {"_id": 6, "n": 1, "ids": [6]}, {"_id": "other", "n": 3, "ids": [1, 2, 5]}]`,
		},
		{name: "bucket without default", pipe: `[{"$bucket": {"groupBy": "$price", "boundaries": [0, 6]}}]`, kind: fault.BadValue, says: "could not find a matching branch for an input, and no default was specified"},
		{name: "bucket out of order", pipe: `[{"$bucket": {"groupBy": "$price", "boundaries": [6, 0]}}]`, kind: fault.BadValue, says: "must be sorted in ascending order"},
		{
			name: "bucketAuto", pipe: `[{"$bucketAuto": {"groupBy": "$_id", "buckets": 3}}]`,
			want: `[{"_id": {"min": 1, "max": 3}, "count": 2}, {"_id": {"min": 3, "max": 5}, "count": 2}, {"_id": {"min": 5, "max": 6}, "count": 2}]`,
		},
		{
			name: "bucketAuto, equal values", pipe: `[{"$bucketAuto": {"groupBy": "$item", "buckets": 5}}]`,
			want: `[{"_id": {"min": null, "max": "abc"}, "count": 1}, {"_id": {"min": "abc", "max": "jkl"}, "count": 2}, {"_id": {"min": "jkl", "max": "xyz"}, "count": 1}, {"_id": {"min": "xyz", "max": "xyz"}, "count": 2}]`,
		},
		{
			name: "lookup", pipe: `[{"$match": {"_id": {"$in": [1, 6]}}}, {"$lookup": {"from": "stock", "localField": "item", "foreignField": "sku", "as": "s.x"}}, {"$project": {"s.x._id": 1}}]`,
			want: `[{"_id": 1, "s": {"x": [{"_id": 1}, {"_id": 6}]}}, {"_id": 6, "s": {"x": [{"_id": 4}, {"_id": 5}]}}]`,
		},
		{
			name: "lookup by an array", pipe: `[{"$limit": 1}, {"$set": {"k": ["abc", "def"]}}, {"$lookup": {"from": "stock", "localField": "k", "foreignField": "sku", "as": "s"}}, {"$project": {"s._id": 1}}]`,
			want: `[{"_id": 1, "s": [{"_id": 1}, {"_id": 2}, {"_id": 6}]}]`,
		},
		{
			name: "lookup by pipeline", pipe: `[{"$match": {"_id": {"$lte": 2}}}, {"$lookup": {"from": "stock", "let": {"i": "$item", "q": "$quantity"},
				"pipeline": [{"$match": {"$expr": {"$and": [{"$eq": ["$sku", "$$i"]}, {"$gte": ["$n", "$$q"]}]}}}, {"$project": {"_id": 0, "n": 1, "q": "$$q"}}], "as": "s"}}, {"$project": {"s": 1}}]`,
			want: `[{"_id": 1, "s": [{"n": 120, "q": 2}]}, {"_id": 2, "s": []}]`,
		},
		{
			name: "lookup by both", pipe: `[{"$match": {"_id": 1}}, {"$lookup": {"from": "stock", "localField": "item", "foreignField": "sku", "pipeline": [{"$sort": {"n": 1}}, {"$limit": 1}], "as": "s"}}, {"$project": {"s": 1}}]`,
			want: `[{"_id": 1, "s": [{"_id": 6, "sku": ["abc", "xyz"], "n": 7}]}]`,
		},
		{
			name: "lookup in lookup", pipe: `[{"$match": {"_id": 1}}, {"$lookup": {"from": "stock", "let": {"i": "$item"}, "pipeline": [{"$match": {"_id": 1}},
				{"$lookup": {"from": "stock", "let": {"j": "$n"}, "pipeline": [{"$match": {"$expr": {"$eq": ["$sku", "$$i"]}}}, {"$project": {"j": "$$j"}}], "as": "t"}}, {"$project": {"t": 1}}], "as": "s"}}, {"$project": {"s": 1}}]`,
			want: `[{"_id": 1, "s": [{"_id": 1, "t": [{"_id": 1, "j": 120}]}]}]`,
		},
		{name: "lookup of documents", pipe: `[{"$limit": 1}, {"$lookup": {"pipeline": [{"$documents": [{"x": 1}]}], "as": "s"}}, {"$project": {"s": 1}}]`, want: `[{"_id": 1, "s": [{"x": 1}]}]`},
		{name: "lookup without as", pipe: `[{"$lookup": {"from": "stock", "localField": "a", "foreignField": "b"}}]`, kind: fault.FailedToParse},
		{name: "lookup's unknown variable", pipe: `[{"$lookup": {"from": "stock", "pipeline": [{"$match": {"$expr": "$$x"}}], "as": "s"}}]`, kind: fault.FailedToParse, says: "Use of undefined variable"},
		{
			name: "unionWith", pipe: `[{"$match": {"_id": 1}}, {"$project": {"_id": 1}}, {"$unionWith": {"coll": "stock", "pipeline": [{"$match": {"n": {"$gt": 70}}}, {"$project": {"n": 1}}]}}]`,
			want: `[{"_id": 1}, {"_id": 1, "n": 120}, {"_id": 2, "n": 80}]`,
		},
		{
			name: "facet", pipe: `[{"$match": {"_id": {"$lt": 4}}}, {"$facet": {"n": [{"$count": "n"}], "ids": [{"$match": {"price": {"$gt": 5}}}, {"$sort": {"_id": -1}}, {"$project": {"_id": 1}}], "none": [{"$match": {"_id": 99}}]}}]`,
			want: `[{"n": [{"n": 3}], "ids": [{"_id": 2}, {"_id": 1}], "none": []}]`,
		},
		{name: "facet in facet", pipe: `[{"$facet": {"a": [{"$facet": {"b": []}}]}}]`, kind: fault.InvalidPipeline},
		{
			name: "redact", pipe: `[{"$documents": [{"l": 1, "a": {"l": 5}, "b": [{"l": 1, "x": 1}, {"l": 9}]}]}, {"$redact": {"$cond": [{"$gt": ["$l", 3]}, "$$PRUNE", "$$DESCEND"]}}]`,
			want: `[{"l": 1, "b": [{"l": 1, "x": 1}]}]`,
		},
		{
			name: "redact by the whole document", want: `[{"l": 3, "a": {"l": 2, "b": [{"l": 1}]}}, {"l": 9, "a": {"l": 5}}]`,
			pipe: `[{"$documents": [{"l": 3, "a": {"l": 2, "b": [{"l": 4}, {"l": 1}]}, "c": {"l": 5}}, {"l": 9, "a": {"l": 5}}]},
				{"$redact": {"$cond": [{"$gt": ["$l", "$$ROOT.l"]}, "$$PRUNE", "$$DESCEND"]}}]`,
		},
		{
			name: "redact by the document at hand", want: `[{"l": 3, "b": [{"l": 3}]}]`,
			pipe: `[{"$documents": [{"l": 3, "a": {"l": 2}, "b": [{"l": 3}, {"l": 1}]}]},
				{"$redact": {"$cond": [{"$lt": ["$$CURRENT.l", {"$getField": {"field": "l", "input": "$$ROOT"}}]}, "$$PRUNE",
					{"$cond": [{"$eq": [{"$getField": "l"}, "$l"]}, "$$DESCEND", "$$PRUNE"]}]}}]`,
		},
		{name: "documents", pipe: `[{"$documents": {"$map": {"input": [1, 2], "in": {"x": "$$this"}}}}, {"$match": {"x": 2}}]`, want: `[{"x": 2}]`},
		{name: "documents second", pipe: `[{"$limit": 1}, {"$documents": []}]`, kind: fault.InvalidPipeline},
		{name: "sample", pipe: `[{"$sample": {"size": 3}}, {"$count": "n"}]`, want: `[{"n": 3}]`},
		{name: "sample of all", pipe: `[{"$sample": {"size": 99}}, {"$sort": {"_id": 1}}, {"$group": {"_id": null, "ids": {"$push": "$_id"}}}]`, want: `[{"_id": null, "ids": [1, 2, 3, 4, 5, 6]}]`},
		{name: "sample of none", pipe: `[{"$sample": {"size": 0}}]`, kind: fault.BadValue, says: "size argument to"},
		{name: "unknown stage", pipe: `[{"$nope": 1}]`, kind: fault.InvalidPipeline},
		{name: "unsupported stage", pipe: `[{"$densify": {}}]`, kind: fault.CommandNotSupported},
		{name: "two stages in one", pipe: `[{"$match": {}, "$limit": 1}]`, kind: fault.FailedToParse, says: "A pipeline stage specification object must contain exactly one field."},
		{name: "unknown expression", pipe: `[{"$project": {"x": {"$nope": 1}}}]`, kind: fault.InvalidPipeline},
		{name: "error in a document", pipe: `[{"$set": {"x": {"$divide": [1, {"$subtract": ["$_id", 3]}]}}}]`, kind: fault.BadValue},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := aggregate(t, s, c.pipe, pipeline.Options{})
			if c.kind != "" {
				if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("got %s, %v, want %s: %s", text(got), err, c.kind, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := text(docs(t, c.want)); text(got) != want {
				t.Fatalf("got %s, want %s", text(got), want)
			}
		})
	}
}

// The documents that stages have in hand are counted, too.
func TestManyLargeBuffers(t *testing.T) {
	pipe := `[{"$set": {"x": {"$range": [0, 20000]}}}` + strings.Repeat(`, {"$set": {"y": 1}}`, 100) + `]`
	if _, err := aggregate(t, source{"c": docs(t, sales)}, pipe, pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	_, err := aggregate(t, source{"c": docs(t, sales)}, pipe, pipeline.Options{MaxBytes: 8 << 20})
	if !fault.Is(err, fault.QueryMemoryExceeded) {
		t.Fatalf("got %v, want %s", err, fault.QueryMemoryExceeded)
	}
}
