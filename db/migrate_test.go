package db_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/replica"
)

// exchange brings everything that the journals have to all the others.
func exchange(t testing.TB, dbs []*replica.Replica, js []*dbtest.Journal) {
	t.Helper()
	for i := range js {
		for k := range js {
			es, err := js[k].Entries()
			if err == nil && i != k {
				err = js[i].Deliver(es...)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, x := range dbs {
		x.Wake()
		if err := x.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// tick returns when the clocks of all devices show a later time than before, so
// that what is written afterwards has a later stamp.
func tick() {
	for from := time.Now().UnixMilli(); time.Now().UnixMilli() < from+2; {
		runtime.Gosched()
	}
}

func agree(t testing.TB, dbs []*replica.Replica, js []*dbtest.Journal) {
	t.Helper()
	es, err := js[0].Entries()
	if err != nil {
		t.Fatal(err)
	}
	want, _ := db.Reference(es)
	for i, x := range dbs {
		if _, h := x.StateHash(); h != want {
			t.Errorf("replica %d has hash %v, the reference %v", i, h, want)
		}
		if _, err := db.Dump(x.DB); err != nil {
			t.Errorf("replica %d: %v", i, err)
		}
	}
}

func command(t testing.TB, x *replica.Replica, cmd any) bson.Raw {
	t.Helper()
	reply, err := x.Run(t.Context(), raw(t, cmd))
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

var oldShape = d("type", "object", "required", []string{"name"}, "additionalProperties", false,
	"properties", d("_id", true, "name", d("type", "string"), "age", d("type", []string{"string", "integer"}), "junk", true))

var newShape = d("type", "object", "required", []string{"title", "level", "age"}, "additionalProperties", false,
	"properties", d("_id", true, "title", d("type", "string"), "age", d("type", "integer"), "level", d("type", "integer")))

var newSteps = []any{
	d("rename", d("from", "name", "to", "title")), d("default", d("path", "level", "value", 1)),
	d("drop", d("path", "junk")), d("default", d("path", "age", "value", 0)), d("transform", d("path", "age", "to", "int")),
}

func TestMigration(t *testing.T) {
	x, xj := dbtest.OpenIn(t, memory(t), "x")
	y, yj := dbtest.OpenIn(t, memory(t), "y")
	dbs, js := []*replica.Replica{x, y}, []*dbtest.Journal{xj, yj}
	if r := command(t, x, d("create", "c", "validator", d("$jsonSchema", oldShape))); r.Lookup("ok").Double() != 1 {
		t.Fatal(r)
	}
	var docs []bson.Raw
	for i := range 600 {
		docs = append(docs, raw(t, d("_id", i, "name", fmt.Sprint("n", i), "age", fmt.Sprint(i), "junk", i)))
	}
	if _, err := x.Collection("c").Insert(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	exchange(t, dbs, js)

	// A schema that the documents do not fit changes nothing.
	r := command(t, x, d("collMod", "c", "validator", d("$jsonSchema", newShape), "list", 3))
	if r.Lookup("ok").Double() != 0 || r.Lookup("code").Int32() != 121 || r.Lookup("misfits").Int64() != 600 {
		t.Fatalf("got %v", r)
	}
	if first, _ := r.Lookup("first").Array().Values(); len(first) != 3 || !strings.Contains(first[0].Document().Lookup("reason").StringValue(), `"name"`) {
		t.Fatalf("got %v", r)
	}
	r = command(t, x, d("collMod", "c", "validator", d("$jsonSchema", newShape), "migrate", newSteps, "dryRun", true))
	if r.Lookup("misfits").Int64() != 0 || r.Lookup("changed").Int64() != 600 || r.Lookup("version").Int64() != 1 {
		t.Fatalf("got %v", r)
	}

	// What y wrote is there when the migration begins: it stays.
	if _, err := y.Collection("c").Insert(t.Context(), raw(t, d("_id", 9000, "name", "early"))); err != nil {
		t.Fatal(err)
	}
	if _, err := y.Collection("c").Update(t.Context(), raw(t, d("_id", 7)), raw(t, d("$set", d("name", "renamed"))), db.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	exchange(t, dbs, js)
	// What it writes offline, the migration has not seen: it is judged by the new schema,
	// whatever its clock says.
	if _, err := y.Collection("c").Insert(t.Context(), raw(t, d("_id", 9001, "name", "before"))); err != nil {
		t.Fatal(err)
	}
	tick()
	r = command(t, x, d("collMod", "c", "validator", d("$jsonSchema", newShape), "migrate", newSteps))
	tick()
	if r.Lookup("ok").Double() != 1 || r.Lookup("version").Int64() != 2 || r.Lookup("changed").Int64() != 601 {
		t.Fatalf("got %v", r)
	}
	if _, err := y.Collection("c").Insert(t.Context(), raw(t, d("_id", 9002, "name", "late"))); err != nil {
		t.Fatal(err) // y does not know the new schema yet
	}
	exchange(t, dbs, js)
	agree(t, dbs, js)
	got, err := y.Collection("c").Get(t.Context(), bson.RawValue{Type: bson.TypeInt32, Value: []byte{7, 0, 0, 0}})
	if err != nil || got.Raw.Lookup("title").StringValue() != "renamed" || got.Raw.Lookup("age").Int32() != 7 {
		t.Errorf("got %v, %v", got.Raw, err)
	}
	refused := 0
	for r, err := range x.Refused(t.Context(), db.RefusedOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Reason == db.ReasonSchema && r.ID.Int32() > 9000 && strings.Contains(r.Message, "name") {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("got %d refusals of the old shape that the change had not seen, want 2", refused)
	}

	// One that comes while the schema is not enforced is a straggler, until somebody migrates
	// again.
	for _, level := range []string{"off", "strict"} {
		if r := command(t, y, d("collMod", "c", "validationLevel", level, "force", true)); r.Lookup("ok").Double() != 1 {
			t.Fatal(r)
		}
		if level == "off" {
			if _, err := y.Collection("c").Insert(t.Context(), raw(t, d("_id", 9003, "name", "straggler"))); err != nil {
				t.Fatal(err)
			}
		}
	}
	v := command(t, y, d("validate", "c"))
	if v.Lookup("nNonCompliantDocuments").Int64() != 1 || v.Lookup("nrecords").Int64() != 602 {
		t.Errorf("got %v", v)
	}
	for range 2 { // twice: the second time changes nothing
		if r := command(t, y, d("collMod", "c", "migrate", true)); r.Lookup("ok").Double() != 1 {
			t.Fatal(r)
		}
	}
	exchange(t, dbs, js)
	agree(t, dbs, js)
	if rep, err := x.Collection("c").Verify(t.Context(), 0); err != nil || rep.Misfits != 0 {
		t.Errorf("got %v, %v", rep, err)
	}
	l := command(t, y, d("listCollections", 1)).Lookup("cursor", "firstBatch", "0")
	if l.Document().Lookup("info", "version").Int64() != 4 { // its level changed twice
		t.Errorf("got %v", l)
	}
}

// A countdown is a context that ends after being asked a number of times.
type countdown struct {
	context.Context //nolint:containedctx // it is one
	left            atomic.Int64
}

func (c *countdown) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// A migration that ends early is continued, by the same call or by Migrate, and
// documents of either shape are accepted meanwhile.
func TestMigrationResumes(t *testing.T) {
	for _, again := range []string{"call", "migrate"} {
		x, xj := dbtest.OpenIn(t, memory(t), "x")
		y, yj := dbtest.OpenIn(t, memory(t), "y")
		dbs, js := []*replica.Replica{x, y}, []*dbtest.Journal{xj, yj}
		if err := x.CreateCollection(t.Context(), "c", db.CollectionOptions{Schema: raw(t, oldShape)}); err != nil {
			t.Fatal(err)
		}
		var docs []bson.Raw
		for i := range 700 {
			docs = append(docs, raw(t, d("_id", i, "name", "n")))
		}
		if _, err := x.Collection("c").Insert(t.Context(), docs); err != nil {
			t.Fatal(err)
		}
		c := db.CollectionChange{Schema: raw(t, newShape)}
		for _, s := range newSteps {
			c.Migrate = append(c.Migrate, raw(t, s))
		}
		ends := &countdown{Context: t.Context()}
		ends.left.Store(1350) // looks at every document once, and then at most of them
		if _, err := x.ModifyCollection(ends, "c", c); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		infos, err := x.Collections(t.Context())
		if err != nil || !infos[0].Migrating || infos[0].Version != 1 {
			t.Fatalf("got %v, %v", infos, err)
		}
		if _, err := x.Collection("c").Insert(t.Context(), raw(t, d("_id", "old", "name", "n")),
			raw(t, d("_id", "new", "title", "n", "level", 1, "age", 2))); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Collection("c").Insert(t.Context(), raw(t, d("_id", "none"))); !errors.Is(err, db.ErrSchema) {
			t.Fatalf("got %v", err)
		}
		exchange(t, dbs, js)
		if again == "call" {
			_, err = x.ModifyCollection(t.Context(), "c", c)
		} else {
			_, err = y.Collection("c").Migrate(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, dbs, js)
		agree(t, dbs, js)
		for _, z := range dbs {
			if r, err := z.Collection("c").Verify(t.Context(), 0); err != nil || r.Misfits != 0 || r.Documents != 702 || r.Version != 2 {
				t.Errorf("got %+v, %v", r, err)
			}
		}
	}
}

func TestSteps(t *testing.T) {
	for _, c := range []struct{ steps, doc, want string }{
		{`[{"rename":{"from":"a","to":"b.c"}}]`, `{"a":1}`, `{"b":{"c":1}}`},
		{`[{"rename":{"from":"a","to":"b"}}]`, `{"a":1,"b":2}`, `{"a":1,"b":2}`},
		{`[{"rename":{"from":"a","to":"b"}},{"rename":{"from":"b","to":"c"}}]`, `{"a":1}`, `{"c":1}`},
		{`[{"default":{"path":"a.x","value":{"k":[1]}}},{"drop":{"path":"b"}}]`, `{"b":2}`, `{"a":{"x":{"k":[1]}}}`},
		{`[{"transform":{"path":"n","to":"string"}}]`, `{"n":12}`, `{"n":"12"}`},
		{`[{"transform":{"path":"n","to":"int"}}]`, `{"n":"x"}`, `{"n":"x"}`},
		{`[{"transform":{"path":"d","to":"date"}}]`, `{"d":"2020-01-02T03:04:05Z"}`, `{"d":{"$date":"2020-01-02T03:04:05Z"}}`},
		{`[{"transform":{"where":{"v":1},"update":{"$set":{"v":2},"$mul":{"n":100}}}}]`, `{"v":1,"n":2}`, `{"v":2,"n":200}`},
	} {
		for range 2 {
			got, err := db.Steps(c.steps, c.doc)
			if err != nil || got != c.want {
				t.Errorf("%s on %s: got %s, %v; want %s", c.steps, c.doc, got, err, c.want)
			}
			c.doc = got // doing it again changes nothing
		}
	}
	for _, s := range []string{
		`{}`, `[{}]`, `[1]`, `[{"rename":{"from":"a"}}]`, `[{"rename":{"from":"a","to":"_id"}}]`, `[{"drop":{"path":"a","x":1}}]`,
		`[{"drop":{"path":""}}]`, `[{"explode":{}}]`, `[{"transform":{"path":"a","to":"moon"}}]`, `[{"transform":{"where":{"$bad":1},"update":{}}}]`,
		`[{"transform":{"where":{},"update":{"a":1}}}]`, `[{"drop":{"path":"a"},"rename":{"from":"a","to":"b"}}]`,
	} {
		if got, err := db.Steps(s, `{"a":1}`); err == nil {
			t.Errorf("%s: got %s, want an error", s, got)
		}
	}
	if _, err := db.Steps(`[{"transform":{"where":{"n":{"$exists":true}},"update":{"$inc":{"n":1}}}}]`, `{"n":1}`); err == nil {
		t.Error("a step that would change its own outcome again was accepted")
	}
}
