package db_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/replica"
)

func textDB(t testing.TB) (*replica.Replica, *db.Collection) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	c := x.Collection("c")
	_, err := c.Insert(t.Context(),
		raw(t, d("_id", 1, "title", "Running shoes", "body", "For those who run, and the runner in you.")),
		raw(t, d("_id", 2, "title", "Walking", "body", bson.A{"A walk in the park", "Café au lait"})),
		raw(t, d("_id", 3, "title", "The park", "body", "Parks, cafes and a running track: park, park.")),
		raw(t, d("_id", 4, "title", 5, "other", "run")),
		raw(t, d("_id", 5, "title", "Über Straße")))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.CreateIndex(t.Context(), db.Index{Keys: []db.IndexKey{{Path: "title", Text: true, Weight: 10}, {Path: "body", Text: true}}})
	if err != nil {
		t.Fatal(err)
	}
	return x, c
}

func idsOf(docs []bson.Raw) (ids []int64) {
	for _, doc := range docs {
		ids = append(ids, doc.Lookup("_id").AsInt64())
	}
	return ids
}

func TestTextSearch(t *testing.T) {
	x, c := textDB(t)
	for _, q := range []struct {
		text bsonD
		want []int64
	}{
		{d("$search", "run"), []int64{1, 3}},
		{d("$search", "RUNS walked"), []int64{1, 2, 3}},
		{d("$search", "cafe"), []int64{2, 3}},
		{d("$search", "café"), []int64{2, 3}},
		{d("$search", "café", "$diacriticSensitive", true), []int64{2}},
		{d("$search", "Café", "$caseSensitive", true), []int64{2}},
		{d("$search", "Cafés", "$caseSensitive", true), []int64{2}},
		{d("$search", "park"), []int64{2, 3}},
		{d("$search", "park -walking"), []int64{3}},
		{d("$search", "run \"the park\""), []int64{2, 3}},
		{d("$search", "\"running track\""), []int64{3}},
		{d("$search", "park -\"running track\""), []int64{2}},
		{d("$search", "-park"), nil},
		{d("$search", "the and of"), nil},
		{d("$search", ""), nil},
		{d("$search", "strasse"), []int64{5}},
		{d("$search", "uber"), []int64{5}},
		{d("$search", "the", "$language", "none"), nil},
	} {
		got := idsOf(all(t, c, raw(t, d("$text", q.text)), db.FindOptions{}))
		slices.Sort(got)
		if !slices.Equal(got, q.want) {
			t.Errorf("%v: got %v, want %v", q.text, got, q.want)
		}
		if n, err := c.Count(t.Context(), raw(t, d("$text", q.text))); err != nil || int(n) != len(q.want) {
			t.Errorf("%v: counted %d, %v", q.text, n, err)
		}
	}
	// With other conditions, by score, and with the score shown.
	score := d("$meta", "textScore")
	got := all(t, c, raw(t, d("$and", bson.A{d("$text", d("$search", "park run")), d("_id", d("$lt", 4))})), db.FindOptions{
		Sort:       raw(t, d("score", score)),
		Projection: raw(t, d("title", 1, "score", score)),
	})
	if len(got) != 3 {
		t.Fatalf("got %v", got)
	}
	last := math.Inf(1)
	for _, doc := range got {
		s := doc.Lookup("score").Double()
		if s > last || s <= 0 {
			t.Fatalf("got %v", got)
		}
		last = s
	}
	if _, err := c.Update(t.Context(), raw(t, d("_id", 1)), raw(t, d("$set", d("title", "sitting", "body", ""))), db.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := idsOf(all(t, c, raw(t, d("$text", d("$search", "run"))), db.FindOptions{})); !slices.Equal(got, []int64{3}) {
		t.Fatalf("after an update: got %v", got)
	}
	if _, err := db.Dump(x.DB); err != nil {
		t.Fatal(err)
	}
}

func TestTextErrors(t *testing.T) {
	x, _ := textDB(t)
	for _, c := range []struct {
		code   int64
		filter bsonD
	}{
		{2, d("$text", d())},
		{14, d("$text", d("$search", 1))},
		{14, d("$text", "run")},
		{2, d("$text", d("$search", "x", "$fuzzy", true))},
		{2, d("$text", d("$search", "x", "$language", "klingon"))},
		{115, d("$or", bson.A{d("$text", d("$search", "x"))})},
		{2, d("$text", d("$search", "x"), "$and", bson.A{d("$text", d("$search", "y"))})},
	} {
		r := runCommand(t, x, d("find", "c", "filter", c.filter))
		if codeOf(r) != c.code {
			t.Errorf("%v: got %v, want code %d", c.filter, r, c.code)
		}
	}
	if r := runCommand(t, x, d("find", "none", "filter", d("$text", d("$search", "x")))); codeOf(r) != 27 {
		t.Errorf("without an index: got %v", r)
	}
	if r := runCommand(t, x, d("find", "c", "projection", d("s", d("$meta", "textScore")))); codeOf(r) != 2 || !strings.Contains(r.Lookup("errmsg").StringValue(), "text score") {
		t.Errorf("a score without $text: got %v", r)
	}
	// A write is judged again on every replica, where $text has no meaning.
	r := runCommand(t, x, d("delete", "c", "deletes", bson.A{d("q", d("$text", d("$search", "run")), "limit", 0)}))
	if r.Lookup("writeErrors", "0", "code").AsInt64() != 115 {
		t.Errorf("a delete: got %v", r)
	}
}

// A search by the index finds what judging every document finds.
func TestTextIndexIsTheScan(t *testing.T) {
	checks(t, "20")
	words := []string{"run", "running", "Runs", "park", "cafés", "Cafe", "the", "straße", "东京", "a-b", "x"}
	rapid.Check(t, func(rt *rapid.T) {
		st := openMemory(rt)
		x, _ := openReplica(rt, t, st)
		c := x.Collection("c")
		phrase := rapid.Custom(func(t *rapid.T) string {
			s := ""
			for _, w := range rapid.SliceOfN(rapid.SampledFrom(words), 0, 5).Draw(t, "words") {
				s += w + rapid.SampledFrom([]string{" ", ", ", "\n"}).Draw(t, "space")
			}
			return s
		})
		ix := db.Index{Keys: []db.IndexKey{{Path: "a", Text: true}, {Path: "b.c", Text: true}}}
		early := rapid.Bool().Draw(rt, "early")
		if early {
			if _, err := c.CreateIndex(t.Context(), ix); err != nil {
				rt.Fatal(err)
			}
		}
		for i := range rapid.IntRange(1, 12).Draw(rt, "documents") {
			doc := mustRaw(d("_id", i, "a", phrase.Draw(rt, "a"), "b", bson.A{d("c", phrase.Draw(rt, "c")), d("c", bson.A{phrase.Draw(rt, "d")})}))
			if _, err := c.Insert(t.Context(), doc); err != nil {
				rt.Fatal(err)
			}
		}
		if !early {
			if _, err := c.CreateIndex(t.Context(), ix); err != nil {
				rt.Fatal(err)
			}
		}
		q := mustRaw(d("$text", d("$search", phrase.Draw(rt, "search")+rapid.SampledFrom([]string{"", "-park", "\"cafe\""}).Draw(rt, "more"),
			"$caseSensitive", rapid.Bool().Draw(rt, "case"), "$diacriticSensitive", rapid.Bool().Draw(rt, "marks"))))
		want, err := db.TextScan(x.DB, "c", q)
		if err != nil {
			rt.Fatal(err)
		}
		got := idsOf(all(t, c, q, db.FindOptions{}))
		slices.Sort(got)
		if !slices.Equal(got, want) {
			rt.Fatalf("%v: got %v, want %v", q, got, want)
		}
		if err := x.Close(); err != nil {
			rt.Fatal(err)
		}
		if err := st.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}
