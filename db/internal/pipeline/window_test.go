package pipeline_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weftdb/weft/db/internal/pipeline"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

func relaxed(docs [][]byte) string {
	var out []string
	for _, d := range docs {
		out = append(out, string(value.AppendJSON(nil, d, false)))
	}
	return strings.Join(out, " ")
}

func TestGraphLookup(t *testing.T) {
	s := source{
		"staff": docs(t, `[{"_id":1,"boss":null},{"_id":2,"boss":1},{"_id":3,"boss":2},{"_id":4,"boss":[2,3]},{"_id":5}]`),
		"ring":  docs(t, `[{"_id":"a","next":"b"},{"_id":"b","next":"c"},{"_id":"c","next":"a"}]`),
	}
	const up = `"from":"staff","startWith":"$boss","connectFromField":"boss","connectToField":"_id","as":"up"`
	for _, c := range []struct{ coll, pipe, want string }{
		{
			"staff", `[{"$graphLookup":{` + up + `}},{"$project":{"up":"$up._id"}}]`,
			`{"_id":1,"up":[]} {"_id":2,"up":[1]} {"_id":3,"up":[2,1]} {"_id":4,"up":[2,3,1]} {"_id":5,"up":[]}`,
		},
		{
			"staff", `[{"$match":{"_id":3}},{"$graphLookup":{` + up + `,"maxDepth":0,"depthField":"far"}}]`,
			`{"_id":3,"boss":2,"up":[{"_id":2,"boss":1,"far":0}]}`,
		},
		{
			"staff", `[{"$match":{"_id":3}},{"$graphLookup":{` + up + `,"restrictSearchWithMatch":{"boss":{"$ne":null}}}},{"$project":{"up":"$up._id"}}]`,
			`{"_id":3,"up":[2]}`,
		},
		// A cycle ends; null starts at what has none.
		{
			"ring", `[{"$match":{"_id":"a"}},{"$graphLookup":{"from":"ring","startWith":"$next","connectFromField":"next","connectToField":"_id","as":"all"}},{"$project":{"all":"$all._id"}}]`,
			`{"_id":"a","all":["b","c","a"]}`,
		},
		{
			"ring", `[{"$limit":1},{"$graphLookup":{"from":"staff","startWith":null,"connectFromField":"_id","connectToField":"boss","as":"down","depthField":"d"}},{"$project":{"_id":0,"down._id":1,"down.d":1}}]`,
			`{"down":[{"_id":1,"d":0},{"_id":5,"d":0},{"_id":2,"d":1},{"_id":3,"d":2},{"_id":4,"d":2}]}`,
		},
		{
			"ring", `[{"$graphLookup":{"from":"none","startWith":"$x","connectFromField":"a","connectToField":"b","as":"o.p"}},{"$limit":1}]`,
			`{"_id":"a","next":"b","o":{"p":[]}}`,
		},
	} {
		s["c"] = s[c.coll]
		got, err := aggregate(t, s, c.pipe, pipeline.Options{})
		if err != nil || relaxed(got) != c.want {
			t.Errorf("%s:\ngot  %s, %v\nwant %s", c.pipe, relaxed(got), err, c.want)
		}
	}
	for pipe, kind := range map[string]fault.Kind{
		`[{"$graphLookup":5}]`:                                                 fault.FailedToParse,
		`[{"$graphLookup":{"from":"x"}}]`:                                      fault.FailedToParse,
		`[{"$graphLookup":{` + up + `,"maxDepth":-1}}]`:                        fault.FailedToParse,
		`[{"$graphLookup":{` + up + `,"maxDepth":1.5}}]`:                       fault.FailedToParse,
		`[{"$graphLookup":{` + up + `,"nothing":1}}]`:                          fault.FailedToParse,
		`[{"$graphLookup":{` + up + `,"depthField":5}}]`:                       fault.FailedToParse,
		`[{"$graphLookup":{` + up + `,"restrictSearchWithMatch":{"$bad":1}}}]`: fault.BadValue,
	} {
		if _, err := aggregate(t, s, pipe, pipeline.Options{}); !fault.Is(err, kind) {
			t.Errorf("%s: got %v, want %s", pipe, err, kind)
		}
	}
	s["c"] = s["staff"]
	if _, err := aggregate(t, s, `[{"$graphLookup":{`+up+`}}]`, pipeline.Options{MaxBytes: 500}); !fault.Is(err, fault.QueryMemoryExceeded) {
		t.Errorf("without memory: got %v", err)
	}
}

func TestSetWindowFields(t *testing.T) {
	s := source{"c": docs(t, `[{"_id":1,"g":"a","n":1},{"_id":2,"g":"b","n":10},{"_id":3,"g":"a","n":2},{"_id":4,"g":"a","n":2},{"_id":5,"n":7},{"_id":6,"g":"b"}]`)}
	window := func(output, more string) string {
		return fmt.Sprintf(`[{"$setWindowFields":{%s"output":{"r":%s}}},{"$project":{"r":1}}]`, more, output)
	}
	const byID = `"sortBy":{"_id":1},`
	const groups = `"partitionBy":"$g","sortBy":{"n":1},`
	const ofA = `"partitionBy":"$g","sortBy":{"n":-1},`
	for _, c := range []struct{ pipe, want string }{
		{window(`{"$sum":"$n","window":{"documents":["unbounded","current"]}}`, byID), `1:1 2:11 3:13 4:15 5:22 6:22`},
		{window(`{"$sum":"$n"}`, ``), `1:22 2:22 3:22 4:22 5:22 6:22`},
		{window(`{"$push":"$_id","window":{"documents":[-1,1]}}`, byID), `1:[1,2] 2:[1,2,3] 3:[2,3,4] 4:[3,4,5] 5:[4,5,6] 6:[5,6]`},
		{window(`{"$push":"$_id","window":{"documents":["unbounded","current"]}}`, byID), `1:[1] 2:[1,2] 3:[1,2,3] 4:[1,2,3,4] 5:[1,2,3,4,5] 6:[1,2,3,4,5,6]`},
		{window(`{"$min":"$_id","window":{"documents":[1,"unbounded"]}}`, byID), `1:2 2:3 3:4 4:5 5:6 6:null`},
		{window(`{"$count":{},"window":{"documents":[2,3]}}`, byID), `1:2 2:2 3:2 4:1 5:0 6:0`},
		// Partitions come in order, a missing key as null; so do equal documents.
		{window(`{"$rank":{}}`, groups), `5:1 1:1 3:2 4:2 6:1 2:2`},
		{window(`{"$denseRank":{}}`, ofA), `5:1 3:1 4:1 1:2 2:1 6:2`},
		{window(`{"$documentNumber":{}}`, ofA), `5:1 3:1 4:2 1:3 2:1 6:2`},
		{window(`{"$shift":{"output":"$_id","by":1}}`, byID), `1:2 2:3 3:4 4:5 5:6 6:null`},
		{window(`{"$shift":{"output":"$_id","by":-2,"default":{"$add":[1,1]}}}`, byID), `1:2 2:2 3:1 4:2 5:3 6:4`},
		{window(`{"$locf":"$n"}`, byID), `1:1 2:10 3:2 4:2 5:7 6:7`},
		{window(`{"$sum":"$_id","window":{"range":[-1,1]}}`, byID), `1:3 2:6 3:9 4:12 5:15 6:11`},
		{window(`{"$sum":"$_id","window":{"range":["current","unbounded"]}}`, byID), `1:21 2:20 3:18 4:15 5:11 6:6`},
		{
			window(`{"$topN":{"n":2,"sortBy":{"n":-1},"output":"$_id"},"window":{"documents":["unbounded","current"]}}`, byID),
			`1:[1] 2:[2,1] 3:[2,3] 4:[2,3] 5:[2,5] 6:[2,5]`,
		},
		{
			`[{"$set":{"t":{"$toDate":{"$toLong":{"$multiply":["$_id",86400000]}}}}},{"$setWindowFields":{"sortBy":{"t":1},"output":{"r":{"$count":{},"window":{"range":[-1,0],"unit":"day"}}}}},{"$project":{"r":1}}]`,
			`1:1 2:2 3:2 4:2 5:2 6:2`,
		},
		// What one field makes no other sees.
		{`[{"$setWindowFields":{"sortBy":{"_id":1},"output":{"n":{"$sum":1},"r":{"$max":"$n"}}}},{"$project":{"r":1}}]`, `1:10 2:10 3:10 4:10 5:10 6:10`},
	} {
		got, err := aggregate(t, s, c.pipe, pipeline.Options{})
		short := strings.NewReplacer(`{"_id":`, "", `,"r":`, ":", "}", "").Replace(relaxed(got))
		if err != nil || short != c.want {
			t.Errorf("%s:\ngot  %s, %v\nwant %s", c.pipe, short, err, c.want)
		}
	}
	for pipe, kind := range map[string]fault.Kind{
		window(`{"$rank":{}}`, ``):                                            fault.FailedToParse,
		window(`{"$rank":{}}`, `"sortBy":{"a":1,"b":1},`):                     fault.FailedToParse,
		window(`{"$rank":{},"window":{"documents":[0,0]}}`, byID):             fault.FailedToParse,
		window(`{"$sum":1,"window":{"documents":[0,0]}}`, ``):                 fault.FailedToParse,
		window(`{"$sum":1,"window":{"documents":[1,0]}}`, byID):               fault.FailedToParse,
		window(`{"$sum":1,"window":{"documents":[0.5,1]}}`, byID):             fault.FailedToParse,
		window(`{"$sum":1,"window":{"documents":[0]}}`, byID):                 fault.FailedToParse,
		window(`{"$sum":1,"window":{"documents":[0,0,0]}}`, byID):             fault.FailedToParse,
		window(`{"$sum":1,"window":{"documents":[0,0],"range":[0,0]}}`, byID): fault.FailedToParse,
		window(`{"$sum":1,"window":{"range":[0,0]}}`, `"sortBy":{"n":-1},`):   fault.FailedToParse,
		window(`{"$sum":1,"window":{"range":[0,1]}}`, `"sortBy":{"n":1},`):    fault.TypeMismatch,
		window(`{"$sum":1,"window":{"range":[0,1],"unit":"day"}}`, byID):      fault.TypeMismatch,
		window(`{"$sum":1,"window":{"range":[0,1],"unit":"moon"}}`, byID):     fault.FailedToParse,
		window(`{"$sum":1,"$avg":1}`, byID):                                   fault.FailedToParse,
		window(`{"$integral":{"input":"$n"}}`, byID):                          fault.CommandNotSupported,
		window(`{"$frobnicate":1}`, byID):                                     fault.InvalidPipeline,
		window(`{"$shift":{"output":"$n","by":1.5}}`, byID):                   fault.FailedToParse,
		window(`{"$sum":1}`, `"partitionBy":[1],`):                            fault.TypeMismatch,
		`[{"$setWindowFields":{"sortBy":{"_id":1}}}]`:                         fault.FailedToParse,
		`[{"$out":"x"},{"$match":{}}]`:                                        fault.InvalidPipeline,
		`[{"$facet":{"a":[{"$out":"x"}]}}]`:                                   fault.InvalidPipeline,
		`[{"$lookup":{"from":"x","as":"y","pipeline":[{"$merge":"x"}]}}]`:     fault.InvalidPipeline,
		`[{"$merge":{"into":"x","whenMatched":"maybe"}}]`:                     fault.BadValue,
		`[{"$merge":{"into":"x","let":{"a":1}}}]`:                             fault.FailedToParse,
		`[{"$merge":{"into":"x","whenMatched":[{"$match":{}}]}}]`:             fault.InvalidOptions,
		`[{"$merge":{"into":{"db":"other","coll":"x"}}}]`:                     fault.CommandNotSupported,
		`[{"$merge":{"on":"a"}}]`:                                             fault.FailedToParse,
		`[{"$out":5}]`:                                                        fault.TypeMismatch,
	} {
		if _, err := aggregate(t, s, pipe, pipeline.Options{}); !fault.Is(err, kind) {
			t.Errorf("%s: got %v, want %s", pipe, err, kind)
		}
	}
	if _, err := aggregate(t, s, window(`{"$sum":1}`, ``), pipeline.Options{MaxBytes: 500}); !fault.Is(err, fault.QueryMemoryExceeded) {
		t.Errorf("without memory: got %v", err)
	}
}
