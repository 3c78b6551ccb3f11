package db_test

import (
	"errors"
	"testing"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
)

// Level and action mean what MongoDB's validationLevel and validationAction do.
func TestLevels(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "x")
	create(t, x, db.Rules{})
	c := x.Collection("c")
	if err := add(t, x, d("_id", 1, "n", "bad"), d("_id", 2, "n", 1)); err != nil {
		t.Fatal(err)
	}
	set := func(cmd bsonD) {
		t.Helper()
		if r := command(t, x, append(d("collMod", "c"), cmd...)); r.Lookup("ok").Double() != 1 {
			t.Fatalf("%v: got %v", cmd, r)
		}
	}
	update := func(id int, v any) error {
		_, err := c.Update(t.Context(), raw(t, d("_id", id)), raw(t, d("$set", d("n", v, "m", v))), db.UpdateOptions{})
		return err
	}
	set(d("validator", d("$jsonSchema", d("properties", d("n", d("type", "integer")))), "force", true))
	for _, s := range []struct {
		change        bsonD
		stale, insert bool // accepted: an update of a misfit, and an insert of one
	}{
		{d("validationLevel", "strict", "force", true), false, false},
		{d("validationLevel", "moderate", "force", true), true, false},
		{d("validationLevel", "off"), true, true},
		{d("validationLevel", "strict", "validationAction", "warn"), true, true},
	} {
		set(s.change)
		if err := update(1, "worse"); (err == nil) != s.stale || err != nil && !errors.Is(err, db.ErrSchema) {
			t.Errorf("%v: updating a misfit gives %v", s.change, err)
		}
		if err := add(t, x, d("n", "x")); (err == nil) != s.insert {
			t.Errorf("%v: inserting a misfit gives %v", s.change, err)
		}
		if err := update(2, 7); err != nil {
			t.Errorf("%v: %v", s.change, err)
		}
	}
	v := command(t, x, d("validate", "c"))
	if v.Lookup("nNonCompliantDocuments").Int64() != 3 || v.Lookup("version").Int64() != 5 {
		t.Errorf("got %v", v)
	}
	before, _ := x.StateHash()
	set(d("dryRun", true))
	set(d())
	if after, _ := x.StateHash(); after != before {
		t.Error("a change of nothing was written")
	}
	for _, bad := range []bsonD{
		d("validationLevel", "hard"), d("validationAction", 1), d("validator", 1), d("validator", d("a", 1)), d("unknown", 1),
		d("migrate", []int{1}), d("rules", d("write", "(")), d("rules", d("erase", "true")), d("validator", d("$jsonSchema", d("type", "moon"))),
	} {
		r := command(t, x, append(d("collMod", "c"), bad...))
		if r.Lookup("ok").Double() != 0 || r.Lookup("code").Int32() == 0 {
			t.Errorf("%v: got %v", bad, r)
		}
		if k := bad[0].Key; k != "migrate" {
			if r := command(t, x, append(d("create", "other"), bad...)); r.Lookup("ok").Double() != 0 {
				t.Errorf("create %v: got %v", bad, r)
			}
		}
	}
	if r := command(t, x, d("collMod", "none")); r.Lookup("code").Int32() != 26 {
		t.Errorf("got %v", r)
	}
	if r := command(t, x, d("create", "e", "validator", d("$jsonSchema", d("properties", d("m", d("format", "email")))), "formats", true,
		"validationAction", "warn", "rules", d("read", "true"))); r.Lookup("ok").Double() != 1 {
		t.Fatalf("got %v", r)
	}
	infos, err := x.Collections(t.Context())
	if err != nil || len(infos) != 2 || !infos[1].Formats || infos[1].Action != "warn" || infos[1].Level != "strict" || infos[1].Rules.Read != "true" ||
		infos[1].Version != 1 {
		t.Errorf("got %+v, %v", infos, err)
	}
}
