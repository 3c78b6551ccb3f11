// Package vectors compares what the formats give with testdata/vectors, for tests: values,
// the bytes that they are encoded as, and what is computed of them. It is linked by no program.
//
//	vectors.Check(t, "records", "docs/design.md, Record", vectors.Vector{
//		Name: "header", Values: vectors.Of(h), Bytes: h.Encode(), Gives: vectors.Gives{"hash": hash[:]},
//		Back: func(b []byte) (any, error) { return DecodeHeader(b) },
//	})
//
// With WEFT_VECTORS=write the files are written anew (make vectors).
package vectors

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// Gives is what follows from a vector: bytes, numbers, texts.
type Gives map[string]any

// A Vector is one case of a format.
type Vector struct {
	Name   string
	Values any    // those that Bytes encode: anything that [Of] takes; nil where bytes are all there is
	Bytes  []byte // nil where nothing is encoded
	Gives  Gives
	// Back decodes the bytes of the file; what it returns must have the values of the file.
	// Nil where Bytes are the end of it, as of a hash.
	Back func(b []byte) (any, error)
}

// written is a file of vectors.
type written struct {
	About   string  `json:"about"`
	Vectors []entry `json:"vectors"`
}

type entry struct {
	Name   string `json:"name"`
	Values any    `json:"values,omitempty"`
	Bytes  string `json:"bytes,omitempty"`
	Gives  any    `json:"gives,omitempty"`
}

// Writing reports whether the files are to be written anew.
func Writing() bool { return os.Getenv("WEFT_VECTORS") == "write" }

// Path returns where a file of vectors is: below the folder that has go.mod.
func Path(t testing.TB, file string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "testdata", "vectors", file+".json")
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}

// Check compares vectors with a file, which has these and no others, in this order; or
// writes it. about says where the format is described. Names are unique within a file.
func Check(t testing.TB, file, about string, all ...Vector) {
	t.Helper()
	path := Path(t, file)
	now := written{About: about}
	for _, v := range all {
		e := entry{Name: v.Name, Bytes: hex.EncodeToString(v.Bytes)}
		if v.Values != nil {
			e.Values = Of(v.Values)
		}
		if v.Gives != nil {
			e.Gives = Of(v.Gives)
		}
		now.Vectors = append(now.Vectors, e)
	}
	text := encode(t, now)
	if Writing() {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: make vectors", err)
	}
	was := parse(t, kept)
	byName := map[string]rawEntry{}
	for _, e := range was.Vectors {
		byName[e.Name] = e
	}
	for i, v := range all {
		e, known := byName[v.Name]
		delete(byName, v.Name)
		if !known {
			t.Errorf("%s has no %q, or two: make vectors, if it is meant to be new", path, v.Name)
			continue
		}
		if got, want := encode(t, now.Vectors[i]), encode(t, e); !bytes.Equal(got, want) {
			t.Errorf("%s: got %s, want %s", v.Name, got, want)
			continue
		}
		if v.Back == nil {
			continue
		}
		b, err := hex.DecodeString(e.Bytes)
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		back, err := v.Back(b)
		if err != nil {
			t.Errorf("%s: its bytes are refused: %v", v.Name, err)
		} else if got := encode(t, Of(back)); !bytes.Equal(got, encode(t, e.Values)) {
			t.Errorf("%s: its bytes give %s, want %s", v.Name, got, e.Values)
		}
	}
	for name := range byName {
		t.Errorf("%s has %q, which is no vector any more: make vectors", path, name)
	}
	if !t.Failed() && !bytes.Equal(kept, text) {
		t.Errorf("%s is not written as it would be: make vectors", path)
	}
}

// Random returns bytes that are partly random, as of a seal: those that a file gives for a
// vector, if good says that they are still right. Else new ones are made, which only a file
// that is written anew takes.
func Random(t testing.TB, file, name string, good func(b []byte) bool, made func() []byte) []byte {
	t.Helper()
	kept, err := os.ReadFile(Path(t, file))
	if err == nil {
		for _, e := range parse(t, kept).Vectors {
			if b, err := hex.DecodeString(e.Bytes); e.Name == name && err == nil && good(b) {
				return b
			}
		}
	}
	if !Writing() {
		t.Errorf("%s: the bytes that are kept are not right any more", name)
	}
	b := made()
	if !good(b) {
		t.Errorf("%s: what is made now is not right", name)
	}
	return b
}

type rawEntry struct {
	Name   string          `json:"name"`
	Values json.RawMessage `json:"values,omitempty"`
	Bytes  string          `json:"bytes,omitempty"`
	Gives  json.RawMessage `json:"gives,omitempty"`
}

type rawFile struct {
	Vectors []rawEntry `json:"vectors"`
}

func parse(t testing.TB, text []byte) (f rawFile) {
	t.Helper()
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Name returns the name of a field as it stands in a file: "ID" is "id", "IDs" "ids", others
// begin with a small letter.
func Name(field string) string {
	if rest, ok := strings.CutPrefix(field, "ID"); ok {
		return "id" + rest
	}
	return strings.ToLower(field[:1]) + field[1:]
}

// Of returns a value as it stands in a file: bytes as hexadecimal digits, structs by the
// names of their exported fields with a small first letter, numbers, texts and truth as they
// are, what points to nothing as null.
func Of(v any) any { return of(reflect.ValueOf(v)) }

func of(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Invalid:
		return nil
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return of(v.Elem())
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			b := make([]byte, v.Len())
			reflect.Copy(reflect.ValueOf(b), v)
			return hex.EncodeToString(b)
		}
		out := make([]any, v.Len())
		for i := range out {
			out[i] = of(v.Index(i))
		}
		return out
	case reflect.Map:
		out := map[string]any{}
		for it := v.MapRange(); it.Next(); {
			out[it.Key().String()] = of(it.Value())
		}
		return out
	case reflect.Struct:
		out := map[string]any{}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				out[Name(f.Name)] = of(v.Field(i))
			}
		}
		return out
	case reflect.Bool:
		return v.Bool()
	case reflect.String:
		return v.String()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return v.Uint()
	}
	panic("vectors: a " + v.Type().String() + " has no form in a file")
}
