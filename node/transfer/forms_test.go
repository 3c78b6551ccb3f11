package transfer_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node/transfer"
)

// read returns what a file holds: each document as "line: text", each failure as
// "line! kind", and why the file could not be read to its end.
func read(t testing.TB, text string, o transfer.ReaderOptions) (items []string, err error) {
	t.Helper()
	o.NewIDs = true
	r, err := transfer.NewReader(strings.NewReader(text), o)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for {
		it, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return items, nil
		case err != nil:
			return items, err
		case it.Err != nil:
			items = append(items, fmt.Sprintf("%d! %s", it.Line, fault.KindOf(it.Err)))
		default:
			items = append(items, fmt.Sprintf("%d: %s", it.Line, it.Document))
		}
	}
}

func doc(n int) string { return fmt.Sprintf(`{"a": {"$numberInt":"%d"}}`, n) }

// Documents over several lines, whatever prints them; one that is malformed costs
// itself only.
func TestDocumentsOverLines(t *testing.T) {
	for name, x := range map[string]struct {
		text string
		want []string
	}{
		"one a line":             {"{\"a\":1}\n\n  {\"a\":2}\n", []string{"1: " + doc(1), "3: " + doc(2)}},
		"pretty":                 {"{\n  \"a\": 1\n}\n{\n\t\"a\": 2\n}", []string{"1: " + doc(1), "4: " + doc(2)}},
		"without indents":        {"{\n\"a\": 1\n}\n{\n\"a\":\n2\n}\n", []string{"1: " + doc(1), "4: " + doc(2)}},
		"pretty and one a line":  {"{}\n{\n  \"a\": 1\n}\n{\"a\": 2}\n", []string{"1: {}", "2: " + doc(1), "5: " + doc(2)}},
		"Windows":                {"{\r\n  \"a\": 1\r\n}\r\n{\r\n  \"a\": 2\r\n}\r\n", []string{"1: " + doc(1), "4: " + doc(2)}},
		"brackets in strings":    {"{\n \"b\": \"}{\\\"{\",\n \"a\": 1\n}\n{\"a\":2}", []string{`1: {"b": "}{\"{","a": {"$numberInt":"1"}}`, "5: " + doc(2)}},
		"a bracket is missing":   {"{\"a\":1\n{\"a\":2}\n", []string{"1! malformed", "2: " + doc(2)}},
		"a quote is missing":     {"{\"a:1,\n{\"a\":2}\n", []string{"1! malformed", "2: " + doc(2)}},
		"cut":                    {"{\"a\":1}\n{\n \"a\": 2,\n", []string{"1: " + doc(1), "2! malformed"}},
		"a bracket too much":     {"{\n\"a\": 1\n}}\n{\"a\":2}\n", []string{"1! malformed", "4: " + doc(2)}},
		"comma first":            {"{ \"a\": 1\n, \"b\": {\"c\": 2}\n}\n{ \"b\": {}\n, \"a\": 2 }\n", []string{`1: {"a": {"$numberInt":"1"},"b": {"c": {"$numberInt":"2"}}}`, `4: {"b": {},"a": {"$numberInt":"2"}}`}},
		"arrays without indents": {"{\n\"l\": [\n{\n\"x\": 1\n},\n{\"x\":\n {}}\n]\n}\n{\"a\":2}", []string{`1: {"l": [{"x": {"$numberInt":"1"}},{"x": {}}]}`, "10: " + doc(2)}},
		"several on a line":      {"{\"a\":1}{\"a\":2} {\n\"a\":3}\n", []string{"1: " + doc(1), "1: " + doc(2), "1: " + doc(3)}},
		"a comma between":        {"{\"a\":1},\n{\"a\":2}\n", []string{"1! malformed", "2: " + doc(2)}},
		"a value is missing":     {"{\"b\":\n{\"a\":2}\n", []string{"1! malformed", "2: " + doc(2)}},
		"a field is cut":         {"{\"b\":1,\n{\"a\":2}\n", []string{"1! malformed", "2: " + doc(2)}},
		"text":                   {"hello\n{\"a\":2}\n", []string{"1! malformed", "2: " + doc(2)}},
	} {
		if got, err := read(t, x.text, transfer.ReaderOptions{}); err != nil || !slices.Equal(got, x.want) {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, x.want)
		}
	}
	if _, err := read(t, "\xff\xfe{\x00}\x00", transfer.ReaderOptions{}); !errors.Is(err, transfer.ErrFormat) || !strings.Contains(err.Error(), "UTF-16") {
		t.Errorf("UTF-16: got %v", err)
	}
	long := "{\n" + strings.Repeat(" ", transfer.MaxLine) + "\n}"
	if _, err := read(t, long, transfer.ReaderOptions{}); !errors.Is(err, transfer.ErrFormat) {
		t.Errorf("a document of %d bytes: got %v", len(long), err)
	}
}

func TestTables(t *testing.T) {
	for name, x := range map[string]struct {
		text   string
		o      transfer.ReaderOptions
		want   []string
		refuse string // what the error of the file says
	}{
		"a header":          {text: "\xef\xbb\xbf_id,name\r\n1,Ann\r\n2,\"Bo, \"\"Jr\"\"\"\r\n", want: []string{`2: {"_id": {"$numberInt":"1"},"name": "Ann"}`, `3: {"_id": {"$numberInt":"2"},"name": "Bo, \"Jr\""}`}},
		"fields are given":  {text: "1,Ann\n", o: transfer.ReaderOptions{Fields: []string{"_id", "n"}}, want: []string{`1: {"_id": {"$numberInt":"1"},"n": "Ann"}`}},
		"tabs":              {text: "a\tb\n1\tx,y\n", o: transfer.ReaderOptions{Type: transfer.TSV}, want: []string{`2: {"a": {"$numberInt":"1"},"b": "x,y"}`}},
		"subdocuments":      {text: "a.x,b,a.y\n1,2,3\n", want: []string{`2: {"a": {"x": {"$numberInt":"1"},"y": {"$numberInt":"3"}},"b": {"$numberInt":"2"}}`}},
		"a line in a cell":  {text: "a,b\n\"1\n2\",x\n5,6\n", want: []string{`2: {"a": "1\n2","b": "x"}`, `4: {"a": {"$numberInt":"5"},"b": {"$numberInt":"6"}}`}},
		"ragged rows":       {text: "a,b\n1\n1,2,3\n1,2\n", want: []string{"2! malformed", "3! malformed", `4: {"a": {"$numberInt":"1"},"b": {"$numberInt":"2"}}`}},
		"a bad quote":       {text: "a\nx\"y\nz\n", want: []string{"2! malformed", `3: {"a": "z"}`}},
		"not UTF-8":         {text: "a\n\xff\nz\n", want: []string{"2! malformed", `3: {"a": "z"}`}},
		"empty":             {},
		"only a header":     {text: "a,b\n"},
		"semicolons":        {text: "a;b\n1;2\n", refuse: "separated by commas"},
		"a field twice":     {text: "a,b,a\n", refuse: "name of an earlier one"},
		"a field in itself": {text: "a.b,a\n", refuse: "field of another"},
		"a name is missing": {text: "a,,b\n", refuse: "column 2"},
		"a field over one":  {text: "a,a.b\n", refuse: "field of another"},
		"CR alone":          {text: "a,b\r1,2\r", refuse: "control characters"},
		"a name of latin-1": {text: "a,\xe9\n", refuse: "UTF-8"},
		"too many columns":  {text: strings.Repeat("a,", 10_000) + "b\n", refuse: "columns"},
		"a quote is open":   {text: "a\n\"" + strings.Repeat("x,\n", transfer.MaxLine/2), refuse: "is a quote missing?"},
	} {
		if x.o.Type == "" {
			x.o.Type = transfer.CSV
		}
		got, err := read(t, x.text, x.o)
		if x.refuse != "" {
			if !errors.Is(err, transfer.ErrFormat) || !strings.Contains(err.Error(), x.refuse) {
				t.Errorf("%s: got %.200q, %v, want an error with %q", name, got, err, x.refuse)
			}
		} else if err != nil || !slices.Equal(got, x.want) {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, x.want)
		}
	}
}

// A cell becomes a number only if the number says all that the cell does.
func TestCells(t *testing.T) {
	text := `"%s"`
	for cell, want := range map[string]string{
		"0": `{"$numberInt":"0"}`, "-7": `{"$numberInt":"-7"}`, "2147483648": `{"$numberLong":"2147483648"}`,
		"1.5": `{"$numberDouble":"1.5"}`, "1.50": `{"$numberDouble":"1.5"}`, "-0.25": `{"$numberDouble":"-0.25"}`, "100.00": `{"$numberDouble":"100.0"}`,
		"": "", "007": "", "1e5": "", "+1": "", "1.": "", ".5": "", "0x10": "", "1_000": "", "-0": "", "NaN": "", "Infinity": "", "true": "", "null": "",
		"9223372036854775808": "", "0.12345678901234567890123": "", "12345678901234567.5": "", " 1": "",
	} {
		if want == "" {
			want = fmt.Sprintf(text, cell)
		}
		got, err := read(t, "a,b\n\""+cell+"\",x\n", transfer.ReaderOptions{Type: transfer.CSV})
		if want := fmt.Sprintf(`2: {"a": %s,"b": "x"}`, want); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%q: got %q, %v, want %q", cell, got, err, want)
		}
	}
}

func TestBSONFiles(t *testing.T) {
	o := transfer.ReaderOptions{Type: transfer.BSON}
	var file []byte
	for i := range 3 {
		b, err := bson.Marshal(bson.D{{Key: "a", Value: int32(i)}})
		if err != nil {
			t.Fatal(err)
		}
		file = append(file, b...)
	}
	want := []string{"1: " + doc(0), "2: " + doc(1), "3: " + doc(2)}
	if got, err := read(t, string(file), o); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	for n := 1; n < len(file); n++ { // cut anywhere but between two
		if _, err := read(t, string(file[:n]), o); (n%12 != 0) != errors.Is(err, transfer.ErrCut) {
			t.Errorf("%d of %d bytes: got %v", n, len(file), err)
		}
	}
	broken := slices.Clone(file)
	broken[12+4] = 0x77 // the type of the second's field
	if got, err := read(t, string(broken), o); err != nil || len(got) != 3 || got[1] != "2! malformed" {
		t.Errorf("a broken document: got %q, %v", got, err)
	}
	if _, err := read(t, "{\"a\":1}\n", o); !errors.Is(err, transfer.ErrFormat) {
		t.Errorf("text: got %v", err)
	}
}

// Whatever the bytes, reading ends, and what is read is well-formed.
func FuzzRead(f *testing.F) {
	for i, s := range []string{"{\"a\":1}\n{\n\"b\":\"\\\"\"\n}", "[{\"a\":1},{}]", "a,b\n1,\"x\"\"y\"\n", "a\tb\n\t\n", "\x0c\x00\x00\x00\x10a\x00\x01\x00\x00\x00\x00"} {
		f.Add([]byte(s), byte(i))
	}
	f.Fuzz(func(t *testing.T, text []byte, kind byte) {
		o := transfer.ReaderOptions{Type: []transfer.Type{transfer.JSON, transfer.CSV, transfer.TSV, transfer.BSON}[kind%4]}
		r, err := transfer.NewReader(strings.NewReader(string(text)), o)
		if err != nil {
			return
		}
		defer r.Close()
		for n := 0; ; n++ {
			it, err := r.Next()
			if err != nil {
				return
			}
			if n > len(text) {
				t.Fatalf("%d items of %d bytes", n, len(text))
			}
			if it.Err == nil && it.Document.Validate() != nil {
				t.Fatalf("item %d is no document: %x", n, []byte(it.Document))
			}
		}
	})
}
