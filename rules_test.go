package weft_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/weftdb/weft"

// goFiles calls f for every Go file of the module that is not generated.
func goFiles(t *testing.T, f func(path string, file *ast.File)) {
	t.Helper()
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if !ast.IsGenerated(file) {
			f(path, file)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Every package has exactly one package comment: its story, in its root file.
func TestEachPackageHasOneComment(t *testing.T) {
	comments := map[string][]string{}
	goFiles(t, func(path string, file *ast.File) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		dir := filepath.Dir(path)
		comments[dir] = append(comments[dir], "")
		if file.Doc != nil {
			comments[dir][len(comments[dir])-1] = path
		}
	})
	if len(comments) < 8 {
		t.Fatalf("got %d packages, want the whole module", len(comments))
	}
	for dir, paths := range comments {
		var with []string
		for _, p := range paths {
			if p != "" {
				with = append(with, p)
			}
		}
		if len(with) != 1 {
			t.Errorf("package %s: got %d package comments %q, want 1", dir, len(with), with)
		}
	}
}

// The import arrows of docs/design.md, among our own packages.
func TestImportArrows(t *testing.T) {
	allowed := map[string][]string{
		"internal/fault":     {},
		"internal/canonical": {"internal/fault"},
		"internal/clock":     {"internal/fault"},
		"internal/store":     {"internal/store", "internal/fault"},
		"keys":               {"keys", "internal"},
		"db":                 {"db", "keys", "internal"},
		"net":                {"net", "keys", "internal"},
		"buckets":            {"buckets", "db", "keys", "internal"},
		"inbox":              {"inbox", "db", "keys", "internal"},
		"node":               {"node", "buckets", "inbox", "net", "db", "keys", "internal"},
		"cmd":                {"cmd", "node", "keys", "internal/fault"},
	}
	goFiles(t, func(path string, file *ast.File) {
		if strings.HasSuffix(path, "_test.go") || !strings.Contains(path, "/") {
			return
		}
		area := strings.SplitN(path, "/", 2)[0]
		if area == "internal" {
			area = strings.Join(strings.SplitN(path, "/", 3)[:2], "/")
		}
		may, known := allowed[area]
		if !known {
			t.Errorf("%s: %q is not a part of the architecture", path, area)
			return
		}
		for _, imp := range file.Imports {
			name := strings.Trim(imp.Path.Value, `"`)
			rest, ours := strings.CutPrefix(name, module+"/")
			if !ours {
				continue
			}
			ok := false
			for _, m := range may {
				ok = ok || rest == m || strings.HasPrefix(rest, m+"/")
			}
			if !ok {
				t.Errorf("%s imports %s: no such arrow", path, rest)
			}
		}
	})
}

// Who links the engines. Everything else uses a store through its interface.
func TestWhoLinksEngines(t *testing.T) {
	may := map[string]bool{"node": true, "internal/store/engines": true, "db/dbtest/open.go": true}
	goFiles(t, func(path string, file *ast.File) {
		if strings.HasSuffix(path, "_test.go") || may[path] || may[filepath.Dir(path)] {
			return
		}
		for _, imp := range file.Imports {
			switch name := strings.Trim(imp.Path.Value, `"`); strings.TrimPrefix(name, module+"/internal/store/") {
			case "engines", "badgerkv", "pebblekv":
				t.Errorf("%s imports %s: it would link engines", path, name)
			}
		}
	})
}
