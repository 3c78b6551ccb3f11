package vectors

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A recorder notes what a check says, and does not fail.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) Failed() bool          { return r.failed }

// TestCheckNotices holds Check against a file of its own with everything wrong that can be.
func TestCheckNotices(t *testing.T) {
	same := func(v any) func([]byte) (any, error) { return func([]byte) (any, error) { return v, nil } }
	type pair struct{ A, b int }
	good := Vector{Name: "one", Values: pair{A: 1}, Bytes: []byte{1, 2}, Gives: Gives{"x": []byte{3}}, Back: same(pair{A: 1})}
	t.Chdir(t.TempDir())
	if err := errors.Join(os.WriteFile("go.mod", nil, 0o600), os.MkdirAll("testdata/vectors", 0o700)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("WEFT_VECTORS", "write")
	Check(t, "cases", "how a file is written", good)
	t.Setenv("WEFT_VECTORS", "")
	change := func(f func(v *Vector)) []Vector { v := good; f(&v); return []Vector{v} }
	for name, c := range map[string]struct {
		vs    []Vector
		fails bool
	}{
		"as it is":       {[]Vector{good}, false},
		"private fields": {change(func(v *Vector) { v.Values = pair{A: 1, b: 7} }), false},
		"other values":   {change(func(v *Vector) { v.Values = pair{A: 2} }), true},
		"other bytes":    {change(func(v *Vector) { v.Bytes = []byte{1} }), true},
		"gives another":  {change(func(v *Vector) { v.Gives = Gives{"x": []byte{4}} }), true},
		"decodes wrong":  {change(func(v *Vector) { v.Back = same(pair{A: 3}) }), true},
		"another name":   {change(func(v *Vector) { v.Name = "two" }), true},
		"one more":       {append([]Vector{good}, Vector{Name: "two"}), true},
		"one less":       {nil, true},
	} {
		r := &recorder{TB: t}
		if Check(r, "cases", "how a file is written", c.vs...); r.failed != c.fails {
			t.Errorf("%s: noticed %v, want %v", name, r.failed, c.fails)
		}
	}
}

// TestReadmeHasEachFile: who looks for a format finds its file, and no file is forgotten.
func TestReadmeHasEachFile(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(filepath.Dir(Path(t, "any")), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(Path(t, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, f := range files {
		if !strings.Contains(string(readme), "| `"+filepath.Base(f)+"` |") {
			t.Errorf("the README does not say what %s has", filepath.Base(f))
		}
	}
	if n := strings.Count(string(readme), ".json` |"); n != len(files) {
		t.Errorf("the README has %d files, the folder %d", n, len(files))
	}
}
