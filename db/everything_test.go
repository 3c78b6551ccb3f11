package db_test

import (
	"fmt"
	"slices"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
)

// everyUpdate draws an update: all operators, positions and pipelines, also ones
// that cannot be applied where they meet.
func everyUpdate(t *rapid.T) (upd any, arrayFilters []bson.D) {
	n := rapid.Int32Range(-2, 4).Draw(t, "v")
	l := rapid.SampledFrom([]string{"l", "n", "o.l", "m"}).Draw(t, "array")
	f := rapid.SampledFrom([]string{"n", "l", "o.k", "o", "l.0", "s"}).Draw(t, "field")
	each := bson.A{n, int32(1), d("k", n)}
	switch rapid.IntRange(0, 26).Draw(t, "operator") {
	case 0:
		return d("$set", d(f, n)), nil
	case 1:
		return d("$unset", d(f, 1)), nil
	case 2:
		return d("$inc", d(f, n)), nil
	case 3:
		return d("$mul", d(f, n)), nil
	case 4:
		return d("$min", d(f, n)), nil
	case 5:
		return d("$max", d(f, "text")), nil
	case 6:
		return d("$rename", d(f, "r")), nil
	case 7:
		return d("$currentDate", d("t", true, "ts", d("$type", "timestamp"))), nil
	case 8:
		return d("$setOnInsert", d("made", n), "$inc", d("n", 1)), nil
	case 9:
		return d("$push", d(l, n)), nil
	case 10:
		return d("$push", d(l, d("$each", each, "$slice", -3, "$sort", 1, "$position", 1))), nil
	case 11:
		return d("$addToSet", d(l, n)), nil
	case 12:
		return d("$addToSet", d(l, d("$each", each))), nil
	case 13:
		return d("$pull", d(l, d("$gte", n))), nil
	case 14:
		return d("$pullAll", d(l, each)), nil
	case 15:
		return d("$pop", d(l, 1)), nil
	case 16:
		return d("$bit", d(f, d("xor", n))), nil
	case 17:
		return d("$set", d("l.$[]", n)), nil
	case 18:
		return d("$inc", d("l.$[x]", 1)), []bson.D{d("x", d("$lte", n))}
	case 19:
		return d("$set", d("l.$", n)), nil
	case 20:
		return bson.A{d("$set", d("n", d("$add", bson.A{"$n", 1}), "sum", d("$size", d("$ifNull", bson.A{"$l", bson.A{}}))))}, nil
	case 21:
		return bson.A{d("$set", d("t", "$$NOW")), d("$unset", "s")}, nil
	case 22:
		return bson.A{d("$replaceWith", d("_id", "$_id", "n", n))}, nil
	case 23:
		return d("$set", d("o", d("k", n, "l", bson.A{n}))), nil
	case 24:
		return d("$set", d("s", fmt.Sprint("word", n)), "$unset", d("l", 1)), nil
	case 25:
		return d("$set", d("l", each)), nil
	}
	return d("$nope", d(f, n)), nil
}

// everyDefinition draws a change of a definition.
func everyDefinition(t *rapid.T) bson.D {
	indexes := []bson.D{
		d("name", "n", "key", d("n", 1)),
		d("name", "l", "key", d("l", -1, "n", 1)),
		d("name", "u", "key", d("n", 1), "unique", true),
		d("name", "sp", "key", d("o.k", 1), "unique", true, "sparse", true),
		d("name", "pa", "key", d("s", 1), "partial", `{"n": {"$gt": {"$numberInt":"1"}}}`),
		d("name", "tx", "key", d("s", "text")),
		d("name", "ex", "key", d("t", 1), "expire", 3600),
	}
	x := rapid.SampledFrom(indexes).Draw(t, "index")
	switch rapid.IntRange(0, 9).Draw(t, "definition") {
	case 0:
		return d("$set", d("schema", schema))
	case 1:
		return d("$set", d("schema", `{"$schema":"http://json-schema.org/draft-07/schema#","not":{"required":["made"]}}`), "$inc", d("version", 1))
	case 2:
		return d("$unset", d("schema", 1))
	case 3:
		return d("$set", d("rules", d("write", `op == "delete" || has(doc.n) && type(doc.n) == int && doc.n >= 0`)))
	case 4:
		return d("$set", d("rules", d("write", `writer != "did:key:w2" || op == "insert"`, "read", "true")))
	case 5:
		return d("$unset", d("rules", 1))
	case 6:
		return d("$set", d("rules", d("write", "doc.n >")))
	case 7:
		return d("$pull", d("indexes", d("name", x[0].Value)))
	}
	return d("$addToSet", d("indexes", x))
}

func pipelineOrDoc(tb testing.TB, upd any) []byte {
	if stages, ok := upd.(bson.A); ok {
		var doc bson.D
		for i, s := range stages {
			doc = append(doc, bson.E{Key: fmt.Sprint(i), Value: s})
		}
		upd = doc
	}
	return raw(tb, upd)
}

func everyOp(t *rapid.T, tb testing.TB) db.Op {
	coll := rapid.SampledFrom([]string{"a", "a", "b"}).Draw(t, "coll")
	if rapid.IntRange(0, 5).Draw(t, "what") == 0 {
		f := raw(tb, d("_id", coll))
		if rapid.IntRange(0, 9).Draw(t, "drop") == 0 {
			return db.NewOp(4, "system.collections", value.String(coll), f, nil, false)
		}
		return db.NewOp(2, "system.collections", value.String(coll), f, raw(tb, everyDefinition(t)), true)
	}
	id := rapid.Int32Range(0, 5).Draw(t, "id")
	n := rapid.Int32Range(0, 4).Draw(t, "n")
	doc := d("n", n, "l", bson.A{n, int32(2)}, "s", fmt.Sprint("word", n), "o", d("k", n))
	filter := rapid.SampledFrom([]bson.D{
		d(), d("n", d("$lte", n)), d("l", n), d("l", d("$elemMatch", d("$gt", n))), d("$or", bson.A{d("s", d("$regex", "^word")), d("o.k", n)}),
		d("$expr", d("$gt", bson.A{"$n", n})), d("n", d("$type", "int")),
	}).Draw(t, "filter")
	upsert := rapid.Bool().Draw(t, "upsert")
	switch rapid.IntRange(0, 7).Draw(t, "kind") {
	case 0, 1:
		return db.NewOp(1, coll, value.Int32(id), nil, raw(tb, append(d("_id", id), doc...)), false)
	case 2:
		return db.NewOp(3, coll, value.Int32(id), raw(tb, filter), raw(tb, doc), upsert)
	case 3:
		return db.NewOp(4, coll, value.Int32(id), raw(tb, filter), nil, false)
	}
	upd, filters := everyUpdate(t)
	op := db.NewOp(2, coll, value.Int32(id), raw(tb, filter), pipelineOrDoc(tb, upd), upsert)
	for _, f := range filters {
		op.ArrayFilters = append(op.ArrayFilters, raw(tb, f))
	}
	return op
}

func everyEntry(t *rapid.T, tb testing.TB, n int) []journal.Entry {
	ops := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) db.Op { return everyOp(t, tb) }), 1, 5)
	var es []journal.Entry
	var times [3]clock.Time
	for i := range rapid.IntRange(1, n).Draw(t, "records") {
		l := rapid.IntRange(0, 2).Draw(t, "log")
		times[l] += clock.Time(rapid.IntRange(1, 3).Draw(t, "tick"))
		e := journal.Entry{Time: times[l] << 16, Atomic: rapid.IntRange(0, 3).Draw(t, "atomic") == 0, Writer: fmt.Sprint("did:key:w", l), Role: "writer"}
		e.ID = clock.RecordID{Log: clock.LogID{byte(l + 1)}, Seq: uint64(i + 1), Hash: clock.Hash{byte(i), byte(i >> 8), 1}}
		e.Payload = encoded(t, es, e, ops.Draw(t, "ops"))
		es = append(es, e)
	}
	return es
}

// finds returns what a query finds, with and without indexes.
func finds(t *rapid.T, tb testing.TB, x *replica.Replica, coll string, filter any, o db.FindOptions) (with, without []string) {
	read := func(o db.FindOptions) (out []string) {
		cur, err := x.Collection(coll).Find(tb.Context(), filter, o)
		if err != nil {
			t.Fatal(err)
		}
		defer cur.Close()
		for cur.Next() {
			out = append(out, cur.Raw().String())
		}
		if err := cur.Err(); err != nil {
			t.Fatal(err)
		}
		if given(o.Sort) == nil {
			slices.Sort(out)
		}
		return out
	}
	with = read(o)
	o.NoIndex = true
	return with, read(o)
}

// Replicas agree with the reference, with each other on conflicts, and with
// themselves on what indexes find, whatever operators, indexes, rules, schemas
// and transactions are in play and in whatever order they arrive.
func TestEverythingConverges(t *testing.T) {
	checks(t, "60")
	everythingConverges(t, 20)
}

func everythingConverges(t *testing.T, records int) {
	rapid.Check(t, func(rt *rapid.T) {
		es := everyEntry(rt, t, records)
		var conflicts []string
		for r := range 2 {
			st := openMemory(rt)
			x, j := openReplica(rt, t, st)
			order := rapid.Permutation(es).Draw(rt, fmt.Sprint("order", r))
			for len(order) > 0 {
				n := rapid.IntRange(1, len(order)).Draw(rt, "delivered")
				if err := j.Deliver(order[:n]...); err != nil {
					rt.Fatal(err)
				}
				x.Wake()
				if err := x.Settle(t.Context()); err != nil {
					rt.Fatal(err)
				}
				order = order[n:]
			}
			same(rt, x, es, fold.Cut{})
			if r > 0 {
				for range 2 {
					same(rt, x, es, setVoid(rt, t, x, es))
				}
				if err := voidLogs(t.Context(), x, nil); err != nil {
					rt.Fatal(err)
				}
				same(rt, x, es, fold.Cut{})
			}
			var listed []string
			for c, err := range x.Conflicts(t.Context(), "") {
				if err != nil {
					rt.Fatal(err)
				}
				listed = append(listed, fmt.Sprintf("%s %s %v %v %v", c.Collection, c.Index, c.Key, c.Owner, c.Others))
			}
			if r > 0 && !slices.Equal(listed, conflicts) {
				rt.Fatalf("conflicts %v here, %v there", listed, conflicts)
			}
			conflicts = listed
			for _, f := range []bson.D{
				d("n", d("$gte", 1)), d("l", 2), d("o.k", d("$in", bson.A{0, 1, nil})), d("s", d("$regex", "^word"), "n", d("$gt", 1)),
				d("$or", bson.A{d("n", 1), d("l", d("$gt", 2))}), d("n", nil),
			} {
				for _, s := range []bson.Raw{nil, raw(t, d("n", 1)), raw(t, d("l", -1, "n", 1))} {
					with, without := finds(rt, t, x, "a", raw(t, f), db.FindOptions{Sort: s})
					if !slices.Equal(with, without) {
						rt.Fatalf("%v sorted by %v: an index finds %v, a scan %v", f, s, with, without)
					}
				}
			}
			if err := x.Close(); err != nil {
				rt.Fatal(err)
			}
			if err := st.Close(); err != nil {
				rt.Fatal(err)
			}
		}
	})
}
