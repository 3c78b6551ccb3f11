package transfer_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/node/transfer"
)

// scalar draws a value of any type that a document can hold.
func scalar(t *rapid.T) any {
	switch rapid.IntRange(0, 15).Draw(t, "type") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return rapid.Int32().Draw(t, "int32")
	case 3:
		return rapid.Int64().Draw(t, "int64")
	case 4:
		return rapid.Float64().Draw(t, "double")
	case 5:
		return rapid.String().Draw(t, "string")
	case 6:
		return bson.Binary{Subtype: rapid.SampledFrom([]byte{0, 3, 4, 5, 128}).Draw(t, "subtype"), Data: rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "data")}
	case 7:
		return bson.DateTime(rapid.Int64().Draw(t, "date"))
	case 8:
		return bson.Timestamp{T: rapid.Uint32().Draw(t, "t"), I: rapid.Uint32().Draw(t, "i")}
	case 9:
		return bson.ObjectID(rapid.SliceOfN(rapid.Byte(), 12, 12).Draw(t, "id"))
	case 10:
		return bson.Regex{Pattern: rapid.StringMatching(`[a-z.*]{0,6}`).Draw(t, "pattern"), Options: rapid.SampledFrom([]string{"", "i", "im"}).Draw(t, "options")}
	case 11:
		d, _ := bson.ParseDecimal128(fmt.Sprintf("%dE%d", rapid.Int64().Draw(t, "coefficient"), rapid.IntRange(-6000, 6000).Draw(t, "exponent")))
		return d
	case 12:
		return bson.MinKey{}
	case 13:
		return bson.MaxKey{}
	case 14:
		return bson.JavaScript(rapid.String().Draw(t, "code"))
	}
	return bson.Symbol(rapid.String().Draw(t, "symbol"))
}

func drawDocument(t *rapid.T, depth int) bson.D {
	out := bson.D{}
	seen := map[string]bool{}
	for range rapid.IntRange(0, 5).Draw(t, "fields") {
		key := rapid.StringMatching(`[a-zA-Zé ."\\]{1,6}`).Draw(t, "key")
		if seen[key] {
			continue
		}
		seen[key] = true
		var v any
		switch kind := rapid.IntRange(0, 4).Draw(t, "kind"); {
		case kind == 0 && depth < 3:
			v = drawDocument(t, depth+1)
		case kind == 1 && depth < 3:
			v = bson.A{drawDocument(t, depth+1), scalar(t), bson.A{scalar(t)}}
		default:
			v = scalar(t)
		}
		out = append(out, bson.E{Key: key, Value: v})
	}
	return out
}

func readAll(t *rapid.T, r io.Reader, o transfer.ReaderOptions) (items []transfer.Item) {
	in, err := transfer.NewReader(r, o)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for {
		it, err := in.Next()
		if errors.Is(err, io.EOF) {
			return items
		}
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, it)
	}
}

// What is written is read, byte for byte, whatever the types.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tagged := rapid.Bool().Draw(t, "tagged")
		var out bytes.Buffer
		e := transfer.NewEncoder(&out)
		if tagged {
			var err error
			if e, err = transfer.NewDatabaseEncoder(&out, "shop"); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Use("things", nil); err != nil {
			t.Fatal(err)
		}
		var want []bson.Raw
		for i := range rapid.IntRange(0, 6).Draw(t, "documents") {
			doc, err := bson.Marshal(append(bson.D{{Key: "_id", Value: int32(i)}}, drawDocument(t, 0)...))
			if err == nil {
				err = e.Write(doc)
			}
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, doc)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		got := readAll(t, &out, transfer.ReaderOptions{Tagged: tagged})
		if len(got) != len(want) {
			t.Fatalf("got %d documents, want %d", len(got), len(want))
		}
		for i, it := range got {
			if it.Err != nil || !bytes.Equal(it.Document, want[i]) {
				t.Fatalf("document %d: %v: got %x, want %x", i, it.Err, it.Document, want[i])
			}
		}
	})
}

// An export that lacks its end anywhere is not taken for a whole one.
func TestCutExport(t *testing.T) {
	var out bytes.Buffer
	e, err := transfer.NewDatabaseEncoder(&out, "shop")
	if err == nil {
		err = e.Use("things", nil)
	}
	for i := range 20 {
		doc, merr := bson.Marshal(bson.D{{Key: "_id", Value: i}})
		err = errors.Join(err, merr, e.Write(doc))
	}
	if err = errors.Join(err, e.Close()); err != nil {
		t.Fatal(err)
	}
	whole := out.String()
	for n := len(whole) - 2; n > 60; n -= 7 {
		in, err := transfer.NewReader(strings.NewReader(whole[:n]), transfer.ReaderOptions{Tagged: true})
		if err != nil {
			t.Fatal(err)
		}
		bad := false
		for {
			it, err := in.Next()
			bad = bad || it.Err != nil || errors.Is(err, transfer.ErrCut)
			if err != nil {
				break
			}
		}
		if in.Close(); !bad {
			t.Fatalf("cut to %d of %d bytes: it was taken for whole", n, len(whole))
		}
	}
}

// Skip keeps, replace replaces, the first of two lines with one _id is the one
// that is there, and counts are right.
func TestDuplicates(t *testing.T) {
	x, _ := dbtest.Open(t, "a")
	load := func(way transfer.Duplicates, text string) transfer.Report {
		t.Helper()
		in, err := transfer.NewReader(strings.NewReader(text), transfer.ReaderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		w := transfer.NewWriter(t.Context(), x.DB, transfer.WriterOptions{Duplicates: way, GoOn: true})
		if err := w.Use("things", nil); err != nil {
			t.Fatal(err)
		}
		for {
			it, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err == nil {
				err = w.Write(it)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		r, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	value := func(id int) int64 {
		t.Helper()
		_, raw, err := bson.MarshalValue(id)
		if err != nil {
			t.Fatal(err)
		}
		d, err := x.Collection("things").Get(t.Context(), bson.RawValue{Type: bson.TypeInt32, Value: raw})
		if err != nil {
			t.Fatal(err)
		}
		return d.Raw.Lookup("n").AsInt64()
	}
	if r := load(transfer.Skip, "{\"_id\":1,\"n\":1}\n{\"_id\":1,\"n\":2}\n{\"_id\":2,\"n\":2}\n"); r.Inserted != 2 || r.Skipped != 1 || r.Failed != 0 || value(1) != 1 {
		t.Errorf("skip: %+v", r)
	}
	if r := load(transfer.Replace, "{\"_id\":1,\"n\":5}\n{\"_id\":2,\"n\":2}\n{\"_id\":1,\"n\":6}\n{\"_id\":3,\"n\":0}"); r.Inserted != 1 || r.Replaced != 2 || r.Skipped != 1 || value(1) != 6 {
		t.Errorf("replace: %+v", r)
	}
	if r := load(transfer.Fail, "{\"_id\":1,\"n\":9}\n\n{\"_id\":4}\n{\n"); r.Inserted != 1 || r.Failed != 2 || r.Failures[0].Line != 1 || r.Failures[1].Line != 4 || value(1) != 6 {
		t.Errorf("fail: %+v", r)
	}
}

// Whatever a file holds, reading it ends with an answer.
func FuzzReader(f *testing.F) {
	f.Add([]byte("[{\"a\":1},{\"b\":[\"]\"]}]"), false)
	f.Add([]byte("{\"weft\":\"export\",\"version\":1,\"database\":\"x\"}\n{\"collection\":\"c\",\"document\":{}}\n{\"weft\":\"end\",\"documents\":1}\n"), true)
	f.Add([]byte{0x1f, 0x8b, 8, 0}, false)
	f.Fuzz(func(t *testing.T, text []byte, tagged bool) {
		in, err := transfer.NewReader(bytes.NewReader(text), transfer.ReaderOptions{Tagged: tagged})
		if err != nil {
			return
		}
		defer in.Close()
		for range len(text) + 1<<16 {
			it, err := in.Next()
			if err != nil {
				return
			}
			if it.Err == nil && (it.Document == nil) == (it.Definition == nil) {
				t.Fatal("an item that is nothing")
			}
		}
		t.Fatal("no end")
	})
}

// folder returns a new folder with files, packed where the name ends in .gz.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if strings.HasSuffix(name, ".gz") {
			var packed bytes.Buffer
			z := gzip.NewWriter(&packed)
			if _, err := io.WriteString(z, text); err != nil {
				t.Fatal(err)
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			text = packed.String()
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// told reads an export of ThreadDB: its documents, definitions and failures, a line each.
func told(t *testing.T, path string) string {
	t.Helper()
	in, err := transfer.OpenThreadDB(path, transfer.ThreadDBOptions{})
	if err != nil {
		return err.Error()
	}
	var out strings.Builder
	for {
		it, err := in.Next()
		switch {
		case errors.Is(err, io.EOF):
			if err := in.Close(); err != nil {
				t.Error(err)
			}
			return out.String()
		case err != nil:
			t.Fatal(err)
		case it.Err != nil:
			fmt.Fprintf(&out, "%s %d: %v\n", it.Collection, it.Line, it.Err)
		case it.Definition != nil:
			fmt.Fprintf(&out, "%s: %s\n", it.Collection, it.Definition)
		default:
			fmt.Fprintf(&out, "%s %d: %s\n", it.Collection, it.Line, it.Document)
		}
	}
}

// An instance without an _id is a failure, wherever the instances are.
func TestThreadDBInstanceWithoutID(t *testing.T) {
	const instances = `[{"_id": "x"}, {"n": 1}]`
	for name, files := range map[string]map[string]string{
		"in a file":   {"a.json": instances},
		"in a config": {"collections.json": `[{"name": "a", "instances": ` + instances + `}]`},
	} {
		if got := told(t, folder(t, files)); !strings.Contains(got, `a 1: {"_id": "x"}`) || !strings.Contains(got, ": the _id of an instance must be a string") {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

// Configurations and schemas can be packed like instances; what is there twice is refused.
func TestThreadDBPacked(t *testing.T) {
	const configs = `{"collections": [{"name": "a", "indexes": [{"path": "n"}]}]}`
	files := map[string]string{
		"collections.json.gz": configs, "a.json.gz": `[{"_id": "x"}]`, "a.schema.json.gz": `{"type": "object"}`,
	}
	got := told(t, folder(t, files))
	for _, want := range []string{`n_1`, `"x"`, `draft-07`} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %s in it", got, want)
		}
	}
	files["collections.json"] = configs
	if got := told(t, folder(t, files)); !strings.Contains(got, "twice") {
		t.Errorf("got %s, want a refusal of two files of configurations", got)
	}
}

// A document that its text would not give back is an error that names it, and one of BSON is not.
func TestInexact(t *testing.T) {
	odd, err := bson.Marshal(bson.D{{Key: "_id", Value: "odd"}, {Key: "a", Value: bson.D{{Key: "$oid", Value: "x"}}}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := transfer.NewDatabaseEncoder(io.Discard, "d")
	if err == nil {
		err = e.Use("c", nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Write(odd); !errors.Is(err, transfer.ErrInexact) || !strings.Contains(err.Error(), `collection c with the _id "odd" has a field $oid`) {
		t.Errorf("got %v, want %v", err, transfer.ErrInexact)
	}
	if err := e.Use("c", odd); !errors.Is(err, transfer.ErrInexact) {
		t.Errorf("got %v of a definition, want %v", err, transfer.ErrInexact)
	}
	for form, want := range map[transfer.Type]error{transfer.JSON: transfer.ErrInexact, transfer.BSON: nil} {
		w, err := transfer.NewDocumentWriter(io.Discard, form, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(odd); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", form, err, want)
		}
	}
}
