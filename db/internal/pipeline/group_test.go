package pipeline_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db/internal/pipeline"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

func TestGroup(t *testing.T) {
	s := source{"c": docs(t, sales)}
	for _, c := range []struct {
		spec, want string
		kind       fault.Kind
		says       string // a part of the error
	}{
		{
			spec: `{"_id": "$item", "n": {"$sum": 1}, "total": {"$sum": {"$multiply": ["$price", "$quantity"]}}, "avg": {"$avg": "$quantity"}}`,
			want: `[{"_id": "abc", "n": 2, "total": 120, "avg": 6.0}, {"_id": "jkl", "n": 1, "total": 20, "avg": 1.0}, {"_id": "xyz", "n": 2, "total": 150, "avg": 15.0}, {"_id": null, "n": 1, "total": 37.5, "avg": 5.0}]`,
		},
		{
			spec: `{"_id": null, "n": {"$count": {}}, "min": {"$min": "$price"}, "max": {"$max": "$price"}, "first": {"$first": "$item"}, "last": {"$last": "$item"}}`,
			want: `[{"_id": null, "n": 6, "min": 5, "max": 20, "first": "abc", "last": null}]`,
		},
		{
			spec: `{"_id": {"p": "$price"}, "items": {"$addToSet": "$item"}, "ids": {"$push": {"i": "$_id"}}}`,
			want: `[{"_id": {"p": 10}, "items": ["abc"], "ids": [{"i": 1}, {"i": 5}]}, {"_id": {"p": 20}, "items": ["jkl"], "ids": [{"i": 2}]}, {"_id": {"p": 5}, "items": ["xyz"], "ids": [{"i": 3}, {"i": 4}]}, {"_id": {"p": 7.5}, "items": [], "ids": [{"i": 6}]}]`,
		},
		{
			spec: `{"_id": null, "m": {"$mergeObjects": {"$arrayToObject": [[[{"$toString": "$price"}, "$_id"]]]}}}`,
			want: `[{"_id": null, "m": {"10": 5, "20": 2, "5": 4, "7.5": 6}}]`,
		},
		{
			spec: `{"_id": null, "f": {"$firstN": {"n": 2, "input": "$_id"}}, "l": {"$lastN": {"n": 2, "input": "$_id"}}, "mi": {"$minN": {"n": 3, "input": "$price"}}, "ma": {"$maxN": {"n": 2, "input": "$item"}}}`,
			want: `[{"_id": null, "f": [1, 2], "l": [5, 6], "mi": [5, 5, 7.5], "ma": ["xyz", "xyz"]}]`,
		},
		{
			spec: `{"_id": null, "t": {"$top": {"sortBy": {"quantity": -1}, "output": "$_id"}}, "b": {"$bottom": {"sortBy": {"quantity": -1}, "output": "$_id"}},
			"tn": {"$topN": {"n": 3, "sortBy": {"price": 1, "_id": -1}, "output": ["$_id", "$price"]}}, "bn": {"$bottomN": {"n": 2, "sortBy": {"price": 1}, "output": "$_id"}}}`,
			want: `[{"_id": null, "t": 4, "b": 2, "tn": [[4, 5], [3, 5], [6, 7.5]], "bn": [5, 2]}]`,
		},
		{
			spec: `{"_id": {"i": "$item"}, "n": {"$firstN": {"n": {"$cond": [{"$eq": ["$i", "abc"]}, 2, 1]}, "input": "$_id"}}}`,
			want: `[{"_id": {"i": "abc"}, "n": [1, 5]}, {"_id": {"i": "jkl"}, "n": [2]}, {"_id": {"i": "xyz"}, "n": [3]}, {"_id": {}, "n": [6]}]`,
		},
		{spec: `{"_id": null, "d": {"$stdDevPop": "$quantity"}, "e": {"$stdDevSamp": "$none"}}`, want: `[{"_id": null, "d": 6.4031242374328485, "e": null}]`},
		{spec: `{"n": {"$sum": 1}}`, kind: fault.FailedToParse, says: "a group specification must include an _id"},
		{spec: `1`, kind: fault.TypeMismatch, says: "a group's fields must be specified in an object"},
		{spec: `{"_id": 1, "a.b": {"$sum": 1}}`, kind: fault.BadValue, says: "cannot contain '."},
		{spec: `{"_id": 1, "a": 1}`, kind: fault.TypeMismatch, says: "must be an accumulator object"},
		{spec: `{"_id": 1, "a": {"$sum": 1, "$avg": 1}}`, kind: fault.FailedToParse, says: "must specify one accumulator"},
		{spec: `{"_id": 1, "a": {"$nope": 1}}`, kind: fault.InvalidPipeline},
		{spec: `{"_id": 1, "a": {"$sum": [1, 2]}}`, kind: fault.FailedToParse, says: "accumulator is a unary operator"},
		{spec: `{"_id": 1, "a": {"$firstN": {"input": 1}}}`, kind: fault.FailedToParse, says: "missing value for 'n' in"},
		{spec: `{"_id": 1, "a": {"$firstN": {"input": 1, "n": 0}}}`, kind: fault.BadValue, says: "n' must be greater than 0, found"},
	} {
		got, err := aggregate(t, s, `[{"$group": `+c.spec+`}]`, pipeline.Options{})
		if c.kind != "" {
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: got %s, %v, want %s: %s", c.spec, text(got), err, c.kind, c.says)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.spec, err)
			continue
		}
		if want := text(docs(t, c.want)); text(got) != want {
			t.Errorf("%s: got %s, want %s", c.spec, text(got), want)
		}
	}
}

type row struct{ K, V int32 }

func rows(rt *rapid.T) (in []row, s source) {
	in = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) row {
		return row{rapid.Int32Range(0, 4).Draw(t, "k"), rapid.Int32Range(-9, 9).Draw(t, "v")}
	}), 0, 40).Draw(rt, "rows")
	s = source{}
	for i, r := range in {
		doc, err := bson.Marshal(bson.D{{Key: "_id", Value: int32(i)}, {Key: "k", Value: r.K}, {Key: "v", Value: r.V}})
		if err != nil {
			rt.Fatal(err)
		}
		s["c"] = append(s["c"], doc)
	}
	return in, s
}

// $group is a fold over the rows of each key, in order.
func TestGroupIsAFold(t *testing.T) {
	p, err := pipeline.Compile(stages(t, `[{"$group": {"_id": "$k", "n": {"$count": {}}, "sum": {"$sum": "$v"}, "min": {"$min": "$v"}, "all": {"$push": "$v"},
		"set": {"$addToSet": "$v"}, "top": {"$topN": {"n": 3, "sortBy": {"v": 1}, "output": "$_id"}}, "bottom": {"$bottomN": {"n": 3, "sortBy": {"v": 1}, "output": "$_id"}}}}]`))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		in, s := rows(rt)
		var keys []int32
		places := map[int32][]int{}
		for i, r := range in {
			if places[r.K] == nil {
				keys = append(keys, r.K)
			}
			places[r.K] = append(places[r.K], i)
		}
		var want []string
		for _, k := range keys {
			at := places[k]
			var vals, set []int32
			sum := int32(0)
			for _, i := range at {
				v := in[i].V
				sum += v
				vals = append(vals, v)
				if !slices.Contains(set, v) {
					set = append(set, v)
				}
			}
			order := slices.Clone(at)
			slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(in[a].V, in[b].V) })
			top, bottom := order[:min(3, len(order))], order[max(0, len(order)-3):]
			want = append(want, strings.ReplaceAll(fmt.Sprint(k, len(at), sum, slices.Min(vals), vals, set, top, bottom), " ", ","))
		}
		got, err := run(p, s, pipeline.Options{})
		if err != nil {
			rt.Fatal(err)
		}
		var have []string
		for _, d := range got {
			var parts []string
			it := value.Elements(d)
			for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
				parts = append(parts, string(value.AppendJSONValue(nil, v, false)))
			}
			have = append(have, strings.Join(parts, ","))
		}
		if !slices.Equal(have, want) {
			rt.Fatalf("got %v, want %v", have, want)
		}
	})
}

// A spread source reads with three goroutines.
type spreadSource struct{ source }

func (s spreadSource) Spread(name string, q pipeline.Query) (func(func() pipeline.Sink) error, func(), error) {
	f, err := query.Compile(q.Filter)
	if err != nil {
		return nil, nil, err
	}
	return func(sink func() pipeline.Sink) error {
		var wg sync.WaitGroup
		var errs [3]error
		for w := range 3 {
			sink := sink()
			wg.Go(func() {
				for i, d := range s.source[name] {
					if i/2%3 == w && f.Match(d) && errs[w] == nil {
						errs[w] = sink([]byte{byte(i)}, bytes.Clone(d))
					}
				}
			})
		}
		wg.Wait()
		return errors.Join(errs[:]...)
	}, func() {}, nil
}

// Several goroutines group as one does.
func TestGroupIsJoined(t *testing.T) {
	for _, text := range []string{
		`[{"$group": {"_id": "$k", "n": {"$count": {}}, "sum": {"$sum": "$v"}, "avg": {"$avg": "$v"}, "min": {"$min": "$v"}, "max": {"$max": "$v"}}}]`,
		`[{"$match": {"v": {"$gt": -5}}}, {"$set": {"k": {"$mod": ["$k", 2]}}}, {"$group": {"_id": "$k", "sum": {"$sum": {"$divide": ["$v", 4]}}}}, {"$match": {"sum": {"$gt": 0}}}]`,
		`[{"$set": {"k": ["$k", "$v"]}}, {"$unwind": "$k"}, {"$sortByCount": "$k"}]`,
		`[{"$bucket": {"groupBy": "$v", "boundaries": [-9, 0, 5], "default": 99}}]`,
		`[{"$match": {"v": {"$gt": 0}}}, {"$group": {"_id": null, "n": {"$sum": {"$divide": [1, {"$subtract": ["$v", 9]}]}}}}]`,
	} {
		p, err := pipeline.Compile(stages(t, text))
		if err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(rt *rapid.T) {
			_, s := rows(rt)
			want, wantErr := run(p, s, pipeline.Options{})
			got, err := run(p, spreadSource{s}, pipeline.Options{})
			if (err == nil) != (wantErr == nil) || err == nil && !slices.EqualFunc(got, want, bytes.Equal) {
				rt.Fatalf("%s: got %v, %v, want %v, %v", text, got, err, want, wantErr)
			}
		})
	}
}

// $sort, $skip and $limit are what slices do, however little memory there is
// for what is not wanted.
func TestSortSkipLimitAreSlices(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		in, s := rows(rt)
		skip, limit := rapid.IntRange(0, 10).Draw(rt, "skip"), rapid.IntRange(1, 10).Draw(rt, "limit")
		got, err := aggregate(t, s, fmt.Sprintf(`[{"$redact": "$$KEEP"}, {"$sort": {"v": -1, "k": 1}}, {"$skip": %d}, {"$limit": %d}]`, skip, limit),
			pipeline.Options{MaxBytes: 21 * 200})
		if err != nil {
			rt.Fatal(err)
		}
		order := make([]int, len(in))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(in[b].V, in[a].V), cmp.Compare(in[a].K, in[b].K)) })
		order = order[min(skip, len(order)):]
		order = order[:min(limit, len(order))]
		if len(got) != len(order) {
			rt.Fatalf("got %d, want %d", len(got), len(order))
		}
		for i, d := range got {
			if !bytes.Equal(d, s["c"][order[i]]) {
				rt.Fatalf("got %s at %d, want %s", value.AppendJSON(nil, d, false), i, value.AppendJSON(nil, s["c"][order[i]], false))
			}
		}
	})
}

// Whatever the pipeline: an error with a code, or documents, soon.
func FuzzPipeline(f *testing.F) {
	for _, s := range []string{
		`[{"$match": {"item": "abc"}}, {"$group": {"_id": "$item", "n": {"$sum": 1}, "t": {"$topN": {"n": 2, "sortBy": {"a": 1}, "output": "$_id"}}}}]`,
		`[{"$lookup": {"from": "c", "let": {"i": "$item"}, "pipeline": [{"$match": {"$expr": {"$eq": ["$item", "$$i"]}}}], "as": "a.b"}}, {"$unwind": "$a.b"}]`,
		`[{"$facet": {"a": [{"$sortByCount": "$item"}], "b": [{"$bucket": {"groupBy": "$_id", "boundaries": [0, 5], "default": 9}}]}}]`,
		`[{"$bucketAuto": {"groupBy": "$price", "buckets": 2}}, {"$unionWith": "c"}, {"$sort": {"_id": 1}}, {"$skip": 1}, {"$limit": 3}]`,
		`[{"$set": {"x": {"$range": [0, 5]}}}, {"$unwind": {"path": "$x", "includeArrayIndex": "i.j", "preserveNullAndEmptyArrays": true}}, {"$count": "n"}]`,
		`[{"$set": {"x": {"$range": [0, 200000]}}}, {"$set": {"y": ["$x", "$x"], "z": ["$x", "$x"]}}, {"$set": {"w": ["$y", "$z", "$y"]}}, {"$sort": {"w": 1}}]`,
		`[{"$redact": {"$cond": [{"$eq": ["$l", 1]}, "$$PRUNE", "$$DESCEND"]}}, {"$replaceWith": {"$mergeObjects": ["$$ROOT", {"a": 1}]}}, {"$project": {"a.b": "$_id"}}]`,
	} {
		f.Add([]byte(s))
	}
	s := source{"c": docs(f, sales)}
	f.Fuzz(func(t *testing.T, in []byte) {
		list, err := value.ParseJSONValue(in)
		if err != nil || !list.IsArray() {
			return
		}
		var specs []bson.Raw
		it := value.Elements(list.Data)
		for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
			if !v.IsDoc() {
				return
			}
			specs = append(specs, v.Data)
		}
		p, err := pipeline.Compile(specs)
		var out [][]byte
		if err == nil {
			out, err = run(p, s, pipeline.Options{MaxBytes: 1 << 20})
		}
		if err != nil && (fault.Is(err, fault.Internal) || err.Error() == "") {
			t.Fatalf("got an error without a kind: %v", err)
		}
		for _, d := range out {
			if len(d) > value.MaxDocument {
				continue
			}
			if err := value.Validate(d); err != nil && !strings.Contains(err.Error(), "nested") {
				t.Fatalf("%s: got %x: %v", in, d, err)
			}
		}
	})
}
