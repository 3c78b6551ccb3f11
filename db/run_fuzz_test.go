package db_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/replica"
)

// everyCommand has each command at least once, with all of its fields.
var everyCommand = []string{
	`{"ping":1}`,
	`{"insert":"a","documents":[{"_id":9,"n":1},{"_id":9}],"ordered":false}`,
	`{"find":"a","filter":{"n":{"$gte":1}},"sort":{"n":-1,"_id":1},"projection":{"n":1,"l":{"$slice":1}},"skip":1,"limit":2,"batchSize":1}`,
	`{"find":"a","filter":{"$or":[{"n":1},{"l":{"$elemMatch":{"$gt":1}}},{"s":{"$regex":"^w","$options":"i"}}]},"hint":{"n":1},"singleBatch":true,"maxTimeMS":1000}`,
	`{"find":"a","filter":{"$text":{"$search":"word -red \"blue\"","$language":"english"}},"projection":{"score":{"$meta":"textScore"}},"sort":{"score":{"$meta":"textScore"}}}`,
	`{"find":"a","filter":{"$expr":{"$gt":["$n",{"$add":[1,{"$size":{"$ifNull":["$l",[]]}}]}]}},"allowDiskUse":true}`,
	`{"find":"a","filter":{"n":{"$in":[1,2,null],"$not":{"$type":"string"},"$mod":[2,0]},"l":{"$all":[1],"$size":2},"b":{"$bitsAnySet":[1]}},"batchSize":0}`,
	`{"getMore":{"$numberLong":"7"},"collection":"a","batchSize":1,"maxTimeMS":1}`,
	`{"killCursors":"a","cursors":[{"$numberLong":"7"}]}`,
	`{"explain":{"find":"a","filter":{"n":1},"sort":{"_id":1}},"verbosity":"executionStats"}`,
	`{"explain":{"aggregate":"a","pipeline":[{"$match":{"n":1}},{"$group":{"_id":"$n"}}],"cursor":{}},"verbosity":"queryPlanner"}`,
	`{"explain":{"update":"a","updates":[{"q":{"n":1},"u":{"$set":{"n":2}},"multi":true}]}}`,
	`{"explain":{"findAndModify":"a","query":{"n":1},"remove":true}}`,
	`{"update":"a","updates":[{"q":{"n":1},"u":{"$inc":{"n":1},"$push":{"l":{"$each":[1],"$slice":2,"$sort":1}}},"multi":true},{"q":{"_id":8},"u":{"n":1},"upsert":true}],"ordered":true}`,
	`{"update":"a","updates":[{"q":{},"u":{"$set":{"l.$[x].k":{"$numberDecimal":"1.5"}}},"arrayFilters":[{"x.k":{"$gt":0}}],"multi":true}]}`,
	`{"update":"a","updates":[{"q":{"_id":1},"u":[{"$set":{"t":"$$NOW","r":{"$map":{"input":{"$range":[0,9]},"in":{"$pow":["$$this",2]}}}}},{"$unset":"s"}]}]}`,
	`{"delete":"a","deletes":[{"q":{"n":1},"limit":1},{"q":{"n":2},"limit":0}],"ordered":false}`,
	`{"findAndModify":"a","query":{"n":1},"sort":{"n":1},"update":{"$set":{"n":3}},"fields":{"n":1},"new":true,"upsert":true}`,
	`{"findAndModify":"a","query":{"n":1},"remove":true}`,
	`{"count":"a","query":{"n":{"$gt":1}},"skip":1,"limit":-2,"hint":"n_1"}`,
	`{"distinct":"a","key":"l","query":{"n":{"$lt":3}}}`,
	`{"aggregate":"a","pipeline":[{"$match":{"n":{"$gt":0}}},{"$unwind":{"path":"$l","includeArrayIndex":"i","preserveNullAndEmptyArrays":true}},{"$group":{"_id":"$l","n":{"$sum":1},"all":{"$push":"$$ROOT"},"p":{"$top":{"sortBy":{"n":1},"output":"$n"}}}},{"$sort":{"_id":1}},{"$limit":5}],"cursor":{"batchSize":2}}`,
	`{"aggregate":"a","pipeline":[{"$lookup":{"from":"b","localField":"n","foreignField":"n","as":"x","let":{"v":"$n"},"pipeline":[{"$match":{"$expr":{"$eq":["$n","$$v"]}}}]}},{"$addFields":{"y":{"$reduce":{"input":"$x","initialValue":0,"in":{"$add":["$$value","$$this.n"]}}}}},{"$project":{"x":0}}],"cursor":{},"let":{"k":1}}`,
	`{"aggregate":"a","pipeline":[{"$facet":{"f":[{"$count":"n"}],"g":[{"$sortByCount":"$s"}],"h":[{"$bucketAuto":{"groupBy":"$n","buckets":2}}],"i":[{"$bucket":{"groupBy":"$n","boundaries":[0,1,2],"default":"x"}}]}}],"cursor":{}}`,
	`{"aggregate":"a","pipeline":[{"$unionWith":{"coll":"b","pipeline":[{"$sample":{"size":2}}]}},{"$redact":{"$cond":[{"$gt":["$n",1]},"$$KEEP","$$PRUNE"]}},{"$replaceWith":{"$mergeObjects":["$$ROOT",{"d":{"$dateTrunc":{"date":{"$toDate":"2020-01-02"},"unit":"week"}}}]}}],"cursor":{}}`,
	`{"aggregate":1,"pipeline":[{"$documents":[{"a":{"$range":[0,3]}},{"a":{"$split":["a,b",","]}}]},{"$skip":1}],"cursor":{},"explain":false}`,
	`{"listCollections":1,"nameOnly":true,"filter":{"name":"a"}}`,
	`{"create":"c","validator":{"$jsonSchema":{"required":["n"],"properties":{"n":{"type":"number","minimum":0}}}},"validationLevel":"strict","validationAction":"error","formats":true,"rules":{"write":"doc.n >= 0","read":"true"}}`,
	`{"collMod":"a","validator":{"$jsonSchema":{"type":"object"}},"migrate":[{"rename":{"from":"s","to":"t"}},{"default":{"path":"d","value":1}},{"transform":{"path":"n","to":"double"}}],"dryRun":true,"force":true,"list":3}`,
	`{"collMod":"a","migrate":true}`,
	`{"drop":"a"}`,
	`{"validate":"a","full":true,"list":2}`,
	`{"createIndexes":"a","indexes":[{"key":{"n":-1,"s":1},"name":"x","unique":true,"sparse":true},{"key":{"t":1},"expireAfterSeconds":60},{"key":{"o.k":1},"partialFilterExpression":{"n":{"$gt":1}}}]}`,
	`{"createIndexes":"b","indexes":[{"key":{"s":"text","o.s":"text"},"weights":{"s":3},"default_language":"german"}]}`,
	`{"listIndexes":"a"}`,
	`{"dropIndexes":"a","index":["n_1"]}`,
	`{"watch":"a","collections":["b"],"operations":["insert"],"filter":{"n":1},"image":"either","id":1,"resumeAfter":""}`,
	`{"live":"a","filter":{"n":{"$gt":0}},"sort":{"n":1},"projection":{"n":1},"skip":1,"limit":2}`,
	`{"refused":"a","reasons":["schema"],"since":{"$date":"2020-01-01T00:00:00Z"},"unhandled":true,"newest":true,"skip":1,"limit":2,"body":false}`,
	`{"retryRefused":"1.2"}`,
	`{"handleRefused":["1.2"],"handled":false}`,
	`{"conflicts":"a","index":"n_1"}`,
	`{"insert":"a","documents":[{"_id":7}],"lsid":{"id":1},"txnNumber":{"$numberLong":"1"},"autocommit":false,"startTransaction":true}`,
	`{"commitTransaction":1,"lsid":{"id":1},"txnNumber":{"$numberLong":"1"},"autocommit":false}`,
	`{"abortTransaction":1,"lsid":{"id":1},"txnNumber":{"$numberLong":"2"},"autocommit":false}`,
}

// odd are values that no field of a command expects, or that are at an edge.
var odd = []any{
	nil, true, false, int32(0), int32(-1), int32(math.MaxInt32), int32(math.MinInt32), int64(math.MaxInt64), int64(math.MinInt64),
	0.5, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), 1e300, 1e18, "", "a", "$", "$n", "$$ROOT", "a.b", "a..b", ".", "\x00", "(a|b)*c{9}", "n_1",
	bson.D{},
	bson.A{},
	bson.A{nil},
	bson.A{int32(1), "x"},
	bson.D{{Key: "", Value: int32(1)}},
	bson.D{{Key: "$nope", Value: int32(1)}},
	bson.DateTime(math.MinInt64), bson.DateTime(math.MaxInt64),
	bson.Regex{Pattern: "^a", Options: "i"},
	bson.Binary{Data: []byte{1}},
	bson.MinKey{},
	bson.MaxKey{},
	bson.Undefined{},
	bson.Timestamp{T: math.MaxUint32, I: 1},
	bson.NewDecimal128(0x7c00000000000000, 0),
	bson.ObjectID{},
	bson.NewDecimal128(0x5ffe314dc6448d93, 0x38c15b0a00000000), bson.Symbol("a"), bson.JavaScript("a"),
	bson.CodeWithScope{Code: "a", Scope: bson.D{}},
}

// A mutator changes commands as its bytes say; at their end nothing changes.
type mutator struct {
	b    []byte
	pool []any // values of commands
	keys []string
}

func (m *mutator) pick(n int) int {
	if n < 2 || len(m.b) == 0 {
		return 0
	}
	c := int(m.b[0])
	m.b = m.b[1:]
	if n > 256 && len(m.b) > 0 {
		c, m.b = c<<8|int(m.b[0]), m.b[1:]
	}
	return c % n
}

// collect gathers the values and keys in v.
func (m *mutator) collect(v any) {
	m.pool = append(m.pool, v)
	switch v := v.(type) {
	case bson.D:
		for _, e := range v {
			m.keys = append(m.keys, e.Key)
			m.collect(e.Value)
		}
	case bson.A:
		for _, e := range v {
			m.collect(e)
		}
	}
}

func (m *mutator) value() any {
	switch m.pick(4) {
	case 0, 1:
		return odd[m.pick(len(odd))]
	case 2:
		return m.pool[m.pick(len(m.pool))]
	}
	v := m.pool[m.pick(len(m.pool))]
	for range m.pick(120) {
		v = bson.D{{Key: m.keys[m.pick(len(m.keys))], Value: v}}
	}
	return v
}

// change changes one place in v.
func (m *mutator) change(v any) any {
	switch v := v.(type) {
	case bson.D:
		at, out := m.pick(len(v)+1), append(bson.D{}, v...)
		if at == len(v) {
			return append(out, bson.E{Key: m.keys[m.pick(len(m.keys))], Value: m.value()})
		}
		switch m.pick(8) {
		case 0:
			out[at].Value = m.value()
		case 1:
			out[at].Key = m.keys[m.pick(len(m.keys))]
		case 2:
			return append(out[:at], out[at+1:]...)
		default:
			out[at].Value = m.change(out[at].Value)
		}
		return out
	case bson.A:
		at, out := m.pick(len(v)+1), append(bson.A{}, v...)
		if at == len(v) {
			return append(out, m.value())
		}
		if m.pick(4) == 0 {
			return append(out[:at], out[at+1:]...)
		}
		out[at] = m.change(out[at])
		return out
	}
	return m.value()
}

// commandOf reads a command: Extended JSON, a number of a command in everyCommand
// (a byte) with the changes to it, or BSON.
func commandOf(data []byte) []bson.Raw {
	if len(data) > 0 && data[0] == '{' {
		c, err := db.ParseJSON(data)
		if err != nil {
			return nil
		}
		return []bson.Raw{c}
	}
	if len(data) >= 5 && binary.LittleEndian.Uint32(data) == uint32(len(data)) {
		return []bson.Raw{data}
	}
	m := &mutator{b: data}
	var all []any
	for _, text := range everyCommand {
		var c bson.D
		if err := bson.UnmarshalExtJSON([]byte(text), false, &c); err != nil {
			panic(err)
		}
		all = append(all, c)
		m.collect(c)
	}
	var out []bson.Raw
	for n := 0; len(m.b) > 0 && n < 6; n++ {
		c := all[m.pick(len(all))]
		for range m.pick(4) {
			c = m.change(c)
		}
		if b, err := bson.Marshal(c); err == nil {
			out = append(out, b)
		}
	}
	return out
}

// runBound is what a command may take; the machine may be busy.
const runBound = time.Minute

// Commands of any bytes: an answer or an error with a code, within a time.
func FuzzRun(f *testing.F) {
	for i, text := range everyCommand {
		f.Add([]byte(text))
		f.Add([]byte{byte(i), 1, 1, 0, 9, byte(i), 2, 7, 3, 40, 5})
	}
	f.Add([]byte(raw(f, d("find", "a"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		cmds := commandOf(data)
		if len(cmds) == 0 {
			return
		}
		x, _ := dbtest.OpenIn(t, memory(t), "a")
		for _, c := range []bson.D{
			d("create", "a"),
			d("createIndexes", "a", "indexes", bson.A{d("key", d("n", 1), "name", "n_1"), d("key", d("s", "text"), "name", "s")}),
			d("insert", "a", "documents", bson.A{
				d("_id", 1, "n", 1, "l", bson.A{1, 2, d("k", 1)}, "s", "a word of red", "o", d("k", 1)),
				d("_id", 2, "n", 2.5, "l", bson.A{}, "s", "blue word", "t", bson.DateTime(1e12)), d("_id", "x", "n", nil),
			}),
		} {
			if _, err := x.Run(t.Context(), raw(t, c)); err != nil {
				t.Fatal(err)
			}
		}
		for _, cmd := range cmds {
			runOne(t, x, cmd)
		}
	})
}

func runOne(t *testing.T, x *replica.Replica, cmd bson.Raw) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runBound)
	defer cancel()
	began := time.Now()
	r, err := x.Run(ctx, cmd)
	if took := time.Since(began); took > runBound/2 {
		t.Fatalf("%v: %s", took, db.AppendJSON(nil, cmd, true))
	}
	if err != nil {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%s: %v", db.AppendJSON(nil, cmd, true), err)
		}
		t.Fatalf("%s: no answer in %v", db.AppendJSON(nil, cmd, true), runBound)
	}
	if err := r.Validate(); err != nil {
		t.Fatalf("%s: an answer that is no BSON: %v", db.AppendJSON(nil, cmd, true), err)
	}
	ok, is := r.Lookup("ok").DoubleOK()
	code, _ := r.Lookup("code").Int32OK()
	name, _ := r.Lookup("codeName").StringValueOK()
	why, _ := r.Lookup("errmsg").StringValueOK()
	if !is || ok == 0 && (code == 0 || name == "" || why == "") {
		t.Fatalf("%s: %s", db.AppendJSON(nil, cmd, true), r)
	}
}
