package db_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/fault"
)

// A shell runs commands.
type shell struct {
	t  *testing.T
	db *replica.Replica
}

func (s shell) run(cmd bson.D) bson.Raw {
	s.t.Helper()
	r, err := s.db.Run(s.t.Context(), raw(s.t, cmd))
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s shell) ok(cmd bson.D) bson.Raw {
	s.t.Helper()
	r := s.run(cmd)
	if r.Lookup("ok").AsFloat64() != 1 {
		s.t.Fatalf("%v: %v", cmd, r)
	}
	return r
}

func (s shell) fails(code int64, cmd bson.D, says ...string) {
	s.t.Helper()
	r := s.run(cmd)
	if r.Lookup("ok").AsFloat64() != 0 || r.Lookup("code").AsInt64() != code || !strings.Contains(r.Lookup("errmsg").StringValue(), strings.Join(says, "")) {
		s.t.Errorf("%v: got %v, want code %d %q", cmd, r, code, says)
	}
}

// batch returns the number of documents of a reply and its cursor.
func batch(r bson.Raw) (n int, cursor int64) {
	b := r.Lookup("cursor", "firstBatch")
	if b.IsZero() {
		b = r.Lookup("cursor", "nextBatch")
	}
	vs, _ := b.Array().Values()
	return len(vs), r.Lookup("cursor", "id").AsInt64()
}

func fill(t *testing.T, c *db.Collection, n int, doc func(i int) bson.D) {
	t.Helper()
	docs := make([]bson.Raw, n)
	for i := range docs {
		docs[i] = raw(t, doc(i))
	}
	if _, err := c.Insert(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
}

func TestCursorCommands(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	s := shell{t, x}
	fill(t, x.Collection("c"), 30, func(i int) bson.D { return d("_id", i, "n", i%7) })
	find := func(more ...any) bson.Raw { return s.ok(append(d("find", "c"), d(more...)...)) }

	// What is written meanwhile is not seen.
	n, id := batch(find("batchSize", 0, "sort", d("n", 1)))
	if n != 0 || id == 0 {
		t.Fatalf("batchSize 0: got %d documents, cursor %d", n, id)
	}
	s.ok(d("delete", "c", "deletes", bson.A{d("q", d("n", d("$gt", 3)), "limit", 0)}))
	fill(t, x.Collection("c"), 5, func(i int) bson.D { return d("_id", 100+i, "n", 0) })
	total := 0
	for next := id; next != 0; {
		n, next = batch(s.ok(d("getMore", id, "collection", "c", "batchSize", 7)))
		total += n
	}
	if total != 30 {
		t.Errorf("the cursor gave %d documents, want the 30 of its moment", total)
	}
	s.fails(43, d("getMore", id, "collection", "c"))

	if n, id := batch(find("batchSize", 3, "singleBatch", true)); n != 3 || id != 0 {
		t.Errorf("singleBatch: got %d, %d", n, id)
	}
	_, id = batch(find("batchSize", 2))
	s.fails(13, d("getMore", id, "collection", "other"))
	r := s.ok(d("killCursors", "c", "cursors", bson.A{id, int64(5)}))
	if k, _ := r.Lookup("cursorsKilled").Array().Values(); len(k) != 1 || k[0].AsInt64() != id {
		t.Errorf("got %v", r)
	}
	s.fails(43, d("getMore", id, "collection", "c"))

	// An id that is no whole number ends no cursor, nor does one beside it.
	_, id = batch(find("batchSize", 2))
	for _, wrong := range []any{1.5, "1", nil, true} {
		s.fails(14, d("killCursors", "c", "cursors", bson.A{id, wrong}))
	}
	s.ok(d("getMore", id, "collection", "c", "batchSize", 1))
	s.ok(d("killCursors", "c", "cursors", bson.A{id, 2.0}))

	s.fails(115, d("find", "c", "tailable", true))
	s.fails(115, d("find", "c", "collation", d("locale", "fr")))
	s.fails(9, d("find", "c", "filtre", d()), "unknown field")
	s.fails(14, d("find", "c", "filter", 1))
	s.fails(2, d("find", "c", "limit", -1), "must be >= 0")
	s.fails(2, d("find", "c", "batchSize", -1), "must be >= 0")
	s.fails(2, d("aggregate", "c", "pipeline", bson.A{}, "cursor", d("batchSize", -1)), "must be >= 0")
	s.fails(2, d("find", "c", "hint", "nope"))
	s.fails(9, d("find", "c", "hint", 5))
	s.fails(9, d("count", "c", "filter", d()), "unknown field")
	s.fails(14, d("distinct", "c", "key", 1))
	if n := s.ok(d("count", "c", "query", d("n", 0), "skip", 2, "limit", 4)).Lookup("n").AsInt64(); n != 4 {
		t.Errorf("got %d, want 4", n)
	}
}

// Cursors end when nobody asks for long, over their number, and with the
// database; the moment they are of is then free.
func TestCursorsEnd(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	s := shell{t, x}
	fill(t, x.Collection("c"), 10, func(i int) bson.D { return d("_id", i) })
	_, short := batch(s.ok(d("find", "c", "batchSize", 1)))
	_, long := batch(s.ok(d("find", "c", "batchSize", 1, "noCursorTimeout", true)))
	x.Commands().DropIdle(time.Now().Add(11 * time.Minute))
	s.fails(43, d("getMore", short, "collection", "c"))
	if n, _ := batch(s.ok(d("getMore", long, "collection", "c", "batchSize", 1))); n != 1 {
		t.Error("a cursor with noCursorTimeout ended early")
	}
	x.Commands().DropIdle(time.Now().Add(2 * time.Hour))
	s.fails(43, d("getMore", long, "collection", "c"))
	if open, bytes := x.Commands().Cursors(); open != 0 || bytes != 0 {
		t.Errorf("%d cursors, %d bytes are left", open, bytes)
	}

	_, first := batch(s.ok(d("find", "c", "batchSize", 1)))
	for range 100 {
		s.ok(d("find", "c", "batchSize", 1))
	}
	s.fails(43, d("getMore", first, "collection", "c"))
	if open, _ := x.Commands().Cursors(); open != 100 {
		t.Errorf("%d cursors are open", open)
	}
	cur, err := x.Collection("c").Find(t.Context(), nil, db.FindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if cur.Next() || cur.Err() == nil {
		t.Error("a cursor outlived its database")
	}
	cur.Close()
	if open, _ := x.Commands().Cursors(); open != 0 {
		t.Error("cursors are left")
	}
}

// Sorted results in memory are bounded, for one cursor and for all.
func TestCursorMemory(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	s := shell{t, x}
	text := strings.Repeat("x", 900<<10)
	for i := range 80 {
		fill(t, x.Collection("c"), 1, func(int) bson.D { return d("_id", i, "s", fmt.Sprint(80-i), "t", text) })
	}
	s.fails(292, d("find", "c", "sort", d("s", 1)))
	if n, _ := batch(s.ok(d("find", "c", "sort", d("s", 1), "limit", 5, "batchSize", 1))); n != 1 {
		t.Error("a limit did not help")
	}
	s.ok(d("find", "c", "sort", d("s", 1), "filter", d("_id", d("$lt", 60)), "batchSize", 1))
	var r bson.Raw
	for range 6 {
		r = s.run(d("find", "c", "sort", d("s", 1), "filter", d("_id", d("$lt", 60)), "batchSize", 1))
	}
	if r.Lookup("code").AsInt64() != 292 {
		t.Errorf("seven results of 53 MiB are held: %v", r)
	}
}

func TestMaxTime(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	fill(t, c, 2000, func(i int) bson.D { return d("_id", i) })
	cur, err := c.Find(t.Context(), raw(t, d("a", 1)), db.FindOptions{MaxTime: 1})
	if err == nil {
		for cur.Next() {
		}
		err = cur.Err()
		cur.Close()
	}
	if !fault.Is(err, fault.MaxTimeExpired) {
		t.Errorf("got %v, want the end of the time", err)
	}
}

// Each kind of plan, as explain names it.
func TestExplain(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c, s := x.Collection("c"), shell{t, x}
	fill(t, c, 2000, func(i int) bson.D {
		return d("_id", i, "a", i%100, "b", i%10, "s", fmt.Sprintf("s%04d", i), "t", bson.A{i % 3, 7})
	})
	for _, keys := range [][]db.IndexKey{{{Path: "a"}}, {{Path: "b"}, {Path: "s"}}, {{Path: "s"}}, {{Path: "t"}}} {
		if _, err := c.CreateIndex(t.Context(), db.Index{Keys: keys}); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name   string
		cmd    bson.D
		stages string
		keys   int64 // at most
		docs   int64 // at most
	}{
		{"all", d("find", "c"), "COLLSCAN", 0, 2000},
		{"id", d("find", "c", "filter", d("_id", 5)), "IDHACK", 0, 1},
		{"ids", d("find", "c", "filter", d("_id", d("$in", bson.A{5, 7, 9999}))), "FETCH IXSCAN", 0, 2},
		{"id range", d("find", "c", "filter", d("_id", d("$gte", 1990))), "CLUSTERED_IXSCAN", 0, 10},
		{"no index", d("find", "c", "filter", d("z", 1)), "COLLSCAN", 0, 2000},
		{"equality", d("find", "c", "filter", d("a", 7, "b", 7)), "FETCH IXSCAN a_1", 20, 20},
		{"range", d("find", "c", "filter", d("s", d("$gte", "s0100", "$lt", "s0110"))), "FETCH IXSCAN s_1", 10, 10},
		{"prefix", d("find", "c", "filter", d("s", d("$regex", "^s010"))), "FETCH IXSCAN s_1", 10, 10},
		{"compound", d("find", "c", "filter", d("b", 3, "s", d("$lt", "s0100"))), "FETCH IXSCAN b_1_s_1", 10, 10},
		{"or", d("find", "c", "filter", d("$or", bson.A{d("a", 3), d("s", "s0001"), d("_id", 9)})), "FETCH OR", 21, 22},
		{"sort", d("find", "c", "sort", d("s", 1), "limit", 5), "LIMIT FETCH IXSCAN s_1", 5, 5},
		{"sort back", d("find", "c", "sort", d("s", -1), "limit", 5), "LIMIT FETCH IXSCAN s_1", 7, 5},
		{"sort after equality", d("find", "c", "filter", d("b", 3), "sort", d("s", -1), "limit", 5), "LIMIT FETCH IXSCAN b_1_s_1", 7, 5},
		{"sort in groups", d("find", "c", "sort", d("a", 1, "s", -1), "limit", 5), "LIMIT SORT FETCH IXSCAN a_1", 64, 64},
		{"merge", d("find", "c", "filter", d("b", d("$in", bson.A{1, 4})), "sort", d("s", 1), "limit", 6), "LIMIT FETCH SORT_MERGE IXSCAN b_1_s_1", 8, 6},
		{"sort all", d("find", "c", "sort", d("z", 1), "limit", 5), "LIMIT SORT COLLSCAN", 0, 2000},
		{"hint", d("find", "c", "filter", d("b", 1), "hint", d("s", 1)), "FETCH IXSCAN s_1", 2000, 2000},
		{"natural", d("find", "c", "filter", d("a", 1), "hint", d("$natural", -1)), "COLLSCAN", 0, 2000},
		{"multikey", d("find", "c", "filter", d("t", 0)), "", 2000, 2000},
		{"count", d("count", "c", "query", d("b", 3)), "COUNT COUNT_SCAN b_1_s_1", 200, 0},
		{"count range", d("count", "c", "query", d("b", 3, "s", d("$lt", "s0100"))), "COUNT COUNT_SCAN b_1_s_1", 10, 0},
		{"count fetched", d("count", "c", "query", d("a", 3, "z", nil)), "COUNT FETCH IXSCAN a_1", 20, 20},
		{"distinct", d("distinct", "c", "key", "b", "query", d("a", 3)), "FETCH IXSCAN a_1", 20, 20},
		{"update", d("update", "c", "updates", bson.A{d("q", d("a", 3), "u", d("$set", d("z", 1)), "multi", true)}), "FETCH IXSCAN a_1", 20, 20},
		{"delete", d("delete", "c", "deletes", bson.A{d("q", d("_id", 3), "limit", 1)}), "LIMIT IDHACK", 0, 1},
		{"missing", d("find", "nothing"), "EOF", 0, 0},
	} {
		r := s.ok(d("explain", test.cmd))
		got := stages(r.Lookup("queryPlanner", "winningPlan").Document())
		if test.stages != "" && got != test.stages {
			t.Errorf("%s: got %s, want %s\n%v", test.name, got, test.stages, r)
		}
		keys, docs := r.Lookup("executionStats", "totalKeysExamined").AsInt64(), r.Lookup("executionStats", "totalDocsExamined").AsInt64()
		if keys > test.keys || docs > test.docs {
			t.Errorf("%s: looked at %d keys and %d documents, want at most %d and %d\n%v", test.name, keys, docs, test.keys, test.docs, r)
		}
		if r := s.ok(d("explain", test.cmd, "verbosity", "queryPlanner")); !r.Lookup("executionStats").IsZero() {
			t.Errorf("%s: it ran", test.name)
		}
	}
	r := s.ok(d("explain", d("find", "c", "filter", d("b", d("$in", bson.A{1, 2}), "s", d("$gt", "s1500")))))
	b := r.Lookup("queryPlanner", "winningPlan", "inputStage", "indexBounds")
	if got, want := b.String(), `{"b": ["[1, 1]","[2, 2]"],"s": ["(\"s1500\", {})"]}`; got != want {
		t.Errorf("bounds: got %s, want %s", got, want)
	}
	if rejected, _ := r.Lookup("queryPlanner", "rejectedPlans").Array().Values(); len(rejected) < 2 {
		t.Errorf("rejected plans: %v", rejected)
	}
	s.fails(59, d("explain", d("insert", "c")))
	s.fails(2, d("explain", d("find", "c"), "verbosity", "loud"))
}

// stages names the stages of a plan, and the index of the last.
func stages(plan bson.Raw) string {
	out := plan.Lookup("stage").StringValue()
	if in := plan.Lookup("inputStage"); !in.IsZero() {
		return out + " " + stages(in.Document())
	}
	if name, ok := plan.Lookup("indexName").StringValueOK(); ok && name != "_id_" {
		out += " " + name
	}
	return out
}

// A hint that could leave documents out is refused.
func TestHintIsNeverWrong(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	fill(t, c, 10, func(i int) bson.D { return d("_id", i) })
	for _, ix := range []db.Index{{Name: "sparse", Keys: []db.IndexKey{{Path: "a"}}, Sparse: true}, {Name: "part", Keys: []db.IndexKey{{Path: "b"}}, Partial: raw(t, d("b", d("$gt", 5)))}} {
		if _, err := c.CreateIndex(t.Context(), ix); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Find(t.Context(), nil, db.FindOptions{Hint: id(ix.Name)}); err == nil {
			t.Errorf("the %s index was used for all documents", ix.Name)
		}
	}
}
