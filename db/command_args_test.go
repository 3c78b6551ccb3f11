package db_test

import (
	"errors"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
)

// unknownField stands for code 9 and what is said of an unknown field.
const unknownField = -9

// What a command does not know, or has another type, is an error that changes
// nothing.
func TestUnknownFieldsOfCommandsAreRefused(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	works(t, x, d("insert", "a", "documents", bson.A{d("_id", 1, "n", 1), d("_id", 2, "n", 2)}))
	before, _ := x.StateHash()
	one := func(kv ...any) bson.A { return bson.A{d(kv...)} }
	set := d("$set", d("z", 1))
	in := func(n int64, kv ...any) bson.D {
		return append(d(kv...), d("lsid", d("id", 1), "txnNumber", n, "autocommit", false, "startTransaction", true)...)
	}
	for i, c := range []struct {
		code int32
		cmd  bson.D
	}{
		{unknownField, d("insert", "a", "documents", one("_id", 7), "nope", 1)},
		{14, d("insert", "a", "documents", one("_id", 7), "ordered", "no")},
		{73, d("insert", 1, "documents", one("_id", 7))},
		{115, d("insert", "a", "documents", one("_id", 7), "bypassDocumentValidation", true)},
		{14, d("update", "a", "updates", one("q", d(), "u", set, "multi", "yes"))},
		{unknownField, d("update", "a", "updates", one("q", d(), "u", set, "nope", true))},
		{115, d("update", "a", "updates", one("q", d(), "u", set, "collation", d("locale", "en")))},
		{115, d("update", "a", "updates", one("q", d(), "u", set, "hint", "nope"))},
		{115, d("update", "a", "updates", one("q", d(), "u", set, "sort", d("n", -1)))},
		{115, d("update", "a", "updates", one("q", d(), "u", set), "let", d("x", 1))},
		{9, d("delete", "a", "deletes", one("q", d()))},
		{14, d("delete", "a", "deletes", one("q", d(), "limit", "1"))},
		{9, d("delete", "a", "deletes", one("q", d(), "limit", 2))},
		{14, d("delete", "a", "deletes", one("q", d(), "limit", 0.5))},
		{115, d("delete", "a", "deletes", one("q", d(), "limit", 1, "collation", d("locale", "en")))},
		{unknownField, d("delete", "a", "deletes", one("q", d(), "limit", 1), "nope", 1)},
		{14, d("findAndModify", "a", "query", "x", "remove", true)},
		{unknownField, d("findAndModify", "a", "quary", d("_id", 77), "remove", true)},
		{14, d("findAndModify", "a", "query", d(), "sort", "n", "remove", true)},
		{115, d("findAndModify", "a", "query", d(), "hint", "nope", "remove", true)},
		{unknownField, d("aggregate", "a", "pipeline", bson.A{}, "cursor", d("nope", 1))},
		{14, d("aggregate", "a", "pipeline", bson.A{}, "cursor", d("batchSize", "x"))},
		{2, d("aggregate", "a", "pipeline", bson.A{}, "cursor", d(), "hint", d("", d("x", 1)))},
		{73, d("aggregate", 1, "pipeline", one("$match", d()), "cursor", d())},
		{14, d("aggregate", 2, "pipeline", bson.A{}, "cursor", d())},
		{73, d("find", "")},
		{unknownField, d("listCollections", 1, "nope", 1)},
		{unknownField, d("drop", "a", "nope", 1)},
		{unknownField, d("createIndexes", "a", "indexes", one("key", d("n", 1)), "nope", 1)},
		{unknownField, d("dropIndexes", "a", "index", "*", "nope", 1)},
		{unknownField, d("collMod", "a", "nope", 1)},
		{14, d("collMod", "a", "list", "x")},
		{72, d("collMod", "a", "migrate", true, "validator", d())},
		{26, d("validate", "nope")},
		{unknownField, d("killCursors", "a", "cursors", bson.A{int64(1)}, "nope", 1)},
		{unknownField, d("explain", d("find", "a"), "nope", 1)},
		{unknownField, d("explain", d("findAndModify", "a", "query", d(), "nope", 1))},
		{unknownField, d("explain", d("update", "a", "updates", one("q", d(), "nope", 1)))},
		{14, d("live", "a", "limit", 1.5)},
		{14, d("watch", 2)},
		{14, d("refused", "a", "unhandled", "x")},
		{unknownField, d("conflicts", "a", "nope", 1)},
		{unknownField, d("ping", 1, "nope", 1)},
		{14, d("find", "a", "lsid", 1)},
		{unknownField, in(1, "find", "a", "nope", 1)},
		{14, in(2, "find", "a", "filter", "x")},
		{2, in(3, "count", "a", "hint", "nope")},
		{9, in(4, "delete", "a", "deletes", one("q", d()))},
		{72, append(d("find", "a"), d("lsid", d("id", string(make([]byte, 2000))), "txnNumber", int64(1), "autocommit", false)...)},
	} {
		r := runCommand(t, x, c.cmd)
		code, _ := r.Lookup("code").AsInt64OK()
		if why, _ := r.Lookup("errmsg").StringValueOK(); code == 9 && strings.Contains(why, "is an unknown field") {
			code = unknownField
		}
		if r.Lookup("ok").Double() != 0 || int32(code) != c.code {
			t.Errorf("%d: %s: got %s, want code %d", i, raw(t, c.cmd), r, c.code)
		}
	}
	if after, _ := x.StateHash(); after != before {
		t.Error("a refused command changed something")
	}
	for _, c := range []bson.D{ // numbers stand for booleans
		d("findAndModify", "a", "query", d("_id", 1), "remove", 1),
		d("findandmodify", "a", "query", d("_id", 2), "update", set, "new", 1.0, "writeConcern", d("w", 1)),
		d("listCollections", 1, "filter", d("name", "a"), "nameOnly", true),
	} {
		works(t, x, c)
	}
	r := runCommand(t, x, d("listCollections", 1, "filter", d("name", "zzz")))
	if vs, _ := r.Lookup("cursor", "firstBatch").Array().Values(); len(vs) != 0 {
		t.Errorf("got %v", r)
	}
}

// An error about a collection that is not there names it.
func TestMissingCollectionIsNamed(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	for _, cmd := range []bson.D{d("drop", "none"), d("collMod", "none", "validator", d()), d("validate", "none")} {
		fails(t, x, 26, cmd, "collection none does not exist")
	}
	if err := x.DropCollection(t.Context(), "none"); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

// A statement that cannot be read fails its command before any of them is done.
func TestStatementsAreReadFirst(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	works(t, x, d("insert", "a", "documents", bson.A{d("_id", 1, "n", 1), d("_id", 2, "n", 2)}))
	before, _ := x.StateHash()
	set := d("$set", d("z", 1))
	for _, c := range []struct {
		code int64
		cmd  bson.D
	}{
		{9, d("update", "a", "updates", bson.A{d("q", d("_id", 1), "u", set), d("q", d("_id", 2))})},
		{9, d("update", "a", "updates", bson.A{d("q", d("_id", 1), "u", set), d("q", d("_id", 2), "u", set, "nope", 1)})},
		{14, d("update", "a", "updates", bson.A{d("q", d("_id", 1), "u", set), 5})},
		{9, d("delete", "a", "deletes", bson.A{d("q", d("_id", 1), "limit", 1), d("q", d("_id", 2))})},
		{9, d("delete", "a", "ordered", false, "deletes", bson.A{d("q", d("_id", 1), "limit", 1), d("q", d("_id", 2), "limit", 2)})},
	} {
		fails(t, x, c.code, c.cmd)
		if after, _ := x.StateHash(); after != before {
			t.Fatalf("%v has written before it failed", c.cmd)
		}
	}
}
