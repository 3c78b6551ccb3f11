package rules

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/cel-go/common/types"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

const alice = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"

func raw(tb testing.TB, v any) bson.Raw {
	tb.Helper()
	b, err := bson.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func input(tb testing.TB) *Input {
	id, err := bson.ObjectIDFromHex("0123456789abcdef01234567")
	if err != nil {
		tb.Fatal(err)
	}
	dec, err := bson.ParseDecimal128("1.50")
	if err != nil {
		tb.Fatal(err)
	}
	return &Input{
		Identity: alice, Role: "owner", Op: "update", Now: time.UnixMilli(1_700_000_000_000),
		Old: raw(tb, bson.D{{Key: "n", Value: 1}, {Key: "owner", Value: alice}}),
		Doc: raw(tb, bson.D{
			{Key: "n", Value: int32(2)},
			{Key: "l", Value: int64(1) << 40},
			{Key: "f", Value: 1.5},
			{Key: "s", Value: "a\"b\\c'd\n"},
			{Key: "d", Value: bson.DateTime(1_600_000_000_000)},
			{Key: "id", Value: id},
			{Key: "dec", Value: dec},
			{Key: "bin", Value: bson.Binary{Data: []byte("xyz")}},
			{Key: "null", Value: nil},
			{Key: "owner", Value: alice},
			{Key: "sub", Value: bson.D{{Key: "b", Value: true}, {Key: "a", Value: bson.A{1, 2, "x"}}}},
			{Key: "tags", Value: bson.A{"red", "blue"}},
			{Key: "far", Value: bson.DateTime(1 << 60)},
			{Key: "copy", Value: bson.D{{Key: "a", Value: bson.A{1.0, int64(2), "x"}}, {Key: "b", Value: true}}},
		}),
	}
}

func TestExpressions(t *testing.T) {
	for _, c := range []struct {
		text string
		want string // part of the error; "" for true
	}{
		{`writer == doc.owner && op == "update"`, ""},
		{`doc.n == old.n + 1`, ""},
		{`doc.n > 1.5 && doc.l > 5 && doc.f < doc.n`, ""},
		{`doc.s == "a\"b\\c'd\n"`, ""},
		{`doc.d < now && now - doc.d > duration("24h")`, ""},
		{`now.getFullYear() == 2023 && now.getHours("+02:00") == now.getHours("UTC") + 2 - 24 * int(now.getHours() >= 22 ? 1 : 0)`, ""},
		{`doc.id == "0123456789abcdef01234567" && doc.dec == "1.50" && doc.bin == b"xyz"`, ""},
		{`doc["null"] == null && has(doc.sub.b) && !has(doc.sub.c) && "n" in doc`, ""},
		{`doc.sub.a.size() == 3 && doc.sub.a[2] == "x" && 2 in doc.sub.a`, ""},
		{`doc.sub == doc.copy && doc.sub.a == doc.copy.a && doc.sub.a == [1, 2, "x"]`, ""},
		{`doc.tags.all(t, t in ["red", "blue"]) && doc.tags.exists(t, t.startsWith("r"))`, ""},
		{`doc.sub.map(k, k) == ["b", "a"] && doc.tags + ["x"] == ["red", "blue", "x"]`, ""},
		{`member.role == "owner" && {"owner": 3, "writer": 1}[member.role] >= 3 && "owner" in {"owner": 1}`, ""},
		{`doc.s.matches("^a.b")`, ""},
		{`!doc.s.matches("^[0-9]{4,20}$")`, ""},
		{`string(timestamp("2020-01-31T00:00:00+01:00") + duration("4800h")) == "2020-08-17T23:00:00Z"`, ""},
		{`type(doc) == map && type(doc.tags) == list && type(doc.n) == int`, ""},
		{`doc.n == 3`, ErrDenied.Error()},
		{`doc.missing == 1`, "no such key"},
		{`doc.far < now`, "after 9999"},
		{`1 / 0 == 1`, "division by zero"},
		{`doc.n`, "not true or false"},
		{`doc.s`, "not true or false"},
		{`doc.l * 9223372036854775807 > 0`, "overflow"},
	} {
		r, err := Compile(Write, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		for range 3 {
			err := r.Allows(input(t))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s: got %v, want %q", c.text, err, c.want)
				break
			}
		}
	}
}

// What could differ between two replicas, or never end, is no rule at all.
func TestRefusedExpressions(t *testing.T) {
	for text, want := range map[string]string{
		`now.getHours("Europe/Paris") == 1`:         "time zone",
		`now.getHours(doc.s) == 1`:                  "time zone",
		`{"a": 1, "b": 2}.map(k, k)[0] == "a"`:      "map literal",
		`{"a": 1} == doc`:                           "map literal",
		`{"a": 1, "a": 2}["a"] == 1`:                "different literal strings",
		`{doc.s: 1}["a"] == 1`:                      "different literal strings",
		`google.protobuf.Int32Value{value: 1} == 1`: "",
		`doc.s.matches(doc.s)`:                      "literal string",
		`doc.s.matches("(((a{50}){50}){50})")`:      "",
		`writer`:                                    "not string",
		`reader == "x"`:                             "undeclared",
		`random() < 1`:                              "undeclared",
		`Date.now() > 1`:                            "undeclared",
		`JSON.parse(doc)`:                           "undeclared",
		`while (true) {}`:                           "",
		`doc.x = 1`:                                 "",
		`[1].all(a, [1].all(b, [1].all(c, [1].all(d, true))))`:                 "at most 3",
		strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100):           "",
		strings.Repeat("true && ", 1000) + "true":                              "at most",
		`size([` + strings.TrimSuffix(strings.Repeat("1,", 200), ",") + `])>1`: "at most 128",
	} {
		_, err := Compile(Write, text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: got %v, want %q", text, err, want)
		}
	}
	if _, err := Compile(Read, `reader == doc.owner && member.role == "owner"`); err != nil {
		t.Error(err)
	}
	if _, err := Compile(Read, `writer == doc.owner`); err == nil {
		t.Error("a read rule has no writer")
	}
}

// An evaluation ends by its cost, wherever it spends it, and soon.
func TestCost(t *testing.T) {
	big := bson.A{}
	for i := range 60_000 {
		big = append(big, int32(i))
	}
	in := input(t)
	in.Doc = raw(t, bson.D{{Key: "a", Value: big}, {Key: "b", Value: append(bson.A{}, append(big, 1)[1:]...)}, {Key: "s", Value: strings.Repeat("a", 500_000)}})
	for _, text := range []string{
		`doc.a.all(x, doc.a.all(y, x + y >= 0))`,
		`doc.a.all(x, x in doc.b || true)`,
		`doc.a.all(x, doc.a == doc.a)`,
		`doc.a.map(x, doc.a).size() > 0`,
		`doc.a.all(x, doc.s == doc.s + "x" || true)`,
		`doc.a.filter(x, doc.s.contains(doc.s)).size() >= 0`,
		`doc.a.all(x, doc.s.matches("(a|b)*c") || true)`,
		`[doc.a, doc.a, doc.a].map(x, [x, x, x].map(y, [y, y, y])) != [doc.a, doc.a, doc.b].map(x, [x, x, x].map(y, [y, y, y])) && doc.a.all(x, true)`,
		`doc.a.all(x, doc.size() > 0)`,
	} {
		r, err := Compile(Write, text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		err = r.Allows(in)
		if err == nil || !strings.Contains(err.Error(), "too much") {
			t.Errorf("%s: got %v, want an end by its cost", text, err)
		}
	}
}

// What a rule costs depends on the bytes of the document, wherever they are: replicas have
// them in buffers of different sizes, and have to agree on a verdict.
func TestCostOfBuffers(t *testing.T) {
	in := input(t)
	in.Doc = raw(t, bson.D{{Key: "a", Value: strings.Repeat("a", 1000)}, {Key: "sub", Value: bson.D{{Key: "x", Value: 1}, {Key: "y", Value: 2}}}, {Key: "z", Value: strings.Repeat("z", 5000)}})
	wide := append(make([]byte, 0, 1<<20), in.Doc...)
	around := append(append(bytes.Repeat([]byte{7}, 100), in.Doc...), bytes.Repeat([]byte{7}, 70_000)...)
	docs := map[string][]byte{
		"its own": bytes.Clone(in.Doc), "a wide buffer": wide, "a clipped buffer": slices.Clip(in.Doc),
		"within others": around[100 : 100+len(in.Doc)], "within others, clipped": around[100 : 100+len(in.Doc) : 100+len(in.Doc)],
	}
	for _, text := range []string{`doc.sub.y == 2`, `has(doc.a)`, `!has(doc.none)`, `"z" in doc && doc.z != ""`, `doc["sub"] == doc.sub`} {
		r, err := Compile(Write, text)
		if err != nil {
			t.Fatal(err)
		}
		costs := map[int][]string{}
		for name, doc := range docs {
			in.Doc = doc
			m := value.Meter{Left: 64 << 20}
			if err := r.AllowsWithin(in, &m); err != nil {
				t.Errorf("%s in %s: %v", text, name, err)
			}
			costs[64<<20-m.Left] = append(costs[64<<20-m.Left], name)
		}
		if len(costs) != 1 {
			t.Errorf("%s costs %v, by its buffer", text, costs)
		}
	}
}

// To find a field is paid by what lies before it, to miss one by the whole document.
func TestCostOfFind(t *testing.T) {
	doc := raw(t, bson.D{{Key: "a", Value: strings.Repeat("a", 1000)}, {Key: "bc", Value: int32(1)}, {Key: "z", Value: strings.Repeat("z", 5000)}})
	for name, want := range map[string]int{"a": 4 + 3, "bc": 4 + 3 + 4 + 1001 + 4, "none": len(doc)} {
		d := document{doc, &meter{left: 1 << 20, work: &value.Meter{Left: 1 << 20}}}
		d.Find(types.String(name))
		if got := 1<<20 - d.m.left - 1; got != want {
			t.Errorf("%s costs %d bytes, want %d", name, got, want)
		}
	}
}

// Rules, documents and what they hold may be anything: an answer or an error.
func FuzzRule(f *testing.F) {
	f.Add(`doc.n > 1 && writer == doc.owner`, []byte{5, 0, 0, 0, 0})
	f.Add(`doc.a.all(x, x in [1, 2]) || has(old.b)`, []byte(raw(f, bson.D{{Key: "a", Value: bson.A{1, 2}}})))
	f.Add(`{"a": doc}["a"] == old`, []byte(raw(f, bson.D{{Key: "a", Value: bson.D{}}})))
	f.Fuzz(func(t *testing.T, text string, doc []byte) {
		r, err := Compile(Write, text)
		if err != nil {
			return
		}
		in := &Input{Identity: alice, Op: "insert", Doc: doc, Now: time.UnixMilli(1)}
		first := fmt.Sprint(r.Allows(in))
		if again := fmt.Sprint(r.Allows(in)); again != first {
			t.Fatalf("%s, then %s", first, again)
		}
	})
}

func BenchmarkRule(b *testing.B) {
	in := input(b)
	for _, text := range []string{`writer == doc.owner`, `writer == old.owner && doc.n == old.n + 1 && doc.tags.all(t, t in ["red", "blue"])`} {
		r, err := Compile(Write, text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(text[:16], func(b *testing.B) {
			for b.Loop() {
				if err := r.Allows(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
