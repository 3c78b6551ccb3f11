package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weftdb/weft/internal/fault"
)

// Go in a page is in a program of the project, which is compiled and run: each piece between
// lines of … is lines of one.
func TestGoInPages(t *testing.T) {
	var programs []string
	for _, pattern := range []string{"../testdata/examples/*/*.go", "../node/example*_test.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %d, %v", pattern, len(names), err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			programs = append(programs, "\n"+flush(strings.Split(string(b), "\n"))+"\n")
		}
	}
	found := 0
	pages, err := filepath.Glob("guide/*.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?ms)^```go$(.*?)^```$")
	for _, page := range append(pages, "../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range block.FindAllStringSubmatch(string(text), -1) {
			for _, piece := range regexp.MustCompile(`(?m)^\s*…\s*$`).Split(m[1], -1) {
				piece = strings.Trim(flush(strings.Split(piece, "\n")), "\n")
				if piece == "" {
					continue
				}
				found++
				if !slices.ContainsFunc(programs, func(p string) bool { return strings.Contains(p, "\n"+piece+"\n") }) {
					t.Errorf("%s: no example has\n%s", page, piece)
				}
			}
		}
	}
	if found < 5 {
		t.Errorf("found %d pieces of Go: this test looks in the wrong places", found)
	}
}

// flush returns lines without their indentation.
func flush(lines []string) string {
	var out []string
	for _, l := range lines {
		out = append(out, strings.TrimSpace(l))
	}
	return strings.Join(out, "\n")
}

// The example does what its test expects.
func TestNotes(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "notes")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./testdata/examples/notes")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), bin)
	temp := t.TempDir()
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, "HOME="+temp)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	got, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, got, &complaint)
	}
	want, err := os.ReadFile("../testdata/examples/notes/output.txt")
	if err != nil || string(got) != string(want) || complaint.Len() > 0 {
		t.Errorf("printed\n%s%s\nwant\n%s%v", got, &complaint, want, err)
	}
	if guide, err := os.ReadFile("guide/embed.md"); err != nil || !strings.Contains(string(guide), "```text\n"+string(want)+"```\n") {
		t.Errorf("guide/embed.md shows another output: %v", err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("it left %v, %v", left, err)
	}
	source, err := os.ReadFile("../testdata/examples/notes/main.go")
	if n := strings.Count(string(source), "\n"); err != nil || n > 120 {
		t.Errorf("the example has %d lines, want at most 120: %v", n, err)
	}
}

// Each kind of error that is not of the query language has a word in the guide.
func TestTroubleshooting(t *testing.T) {
	page, err := os.ReadFile("guide/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := fault.Kinds()
	for _, kind := range kinds[:slices.Index(kinds, fault.BadValue)] {
		if !strings.Contains(string(page), "`"+string(kind)+"`") {
			t.Errorf("the guide does not say what to do about %s", kind)
		}
	}
}

// Names of Go in the text of a page are there.
func TestNamesInGuides(t *testing.T) {
	exported := map[string]bool{}
	packages := []string{"db", "node", "buckets", "inbox", "keys"}
	for _, p := range packages {
		files, err := filepath.Glob("../" + p + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range file.Decls {
				switch d := d.(type) {
				case *ast.FuncDecl:
					if d.Recv == nil {
						exported[p+"."+d.Name.Name] = true
					}
				case *ast.GenDecl:
					for _, s := range d.Specs {
						switch s := s.(type) {
						case *ast.TypeSpec:
							exported[p+"."+s.Name.Name] = true
						case *ast.ValueSpec:
							for _, n := range s.Names {
								exported[p+"."+n.Name] = true
							}
						}
					}
				}
			}
		}
	}
	pages, err := filepath.Glob("guide/*.md")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("`[^`\n]*`")
	name := regexp.MustCompile(`\b(` + strings.Join(packages, "|") + `)\.[A-Z]\w*`)
	found := 0
	for _, page := range append(pages, "../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range code.FindAllString(string(text), -1) {
			for _, n := range name.FindAllString(c, -1) {
				if found++; !exported[n] {
					t.Errorf("%s: there is no %s", page, n)
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("found %d names: this test looks in the wrong places", found)
	}
}
