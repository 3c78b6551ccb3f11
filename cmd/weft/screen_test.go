package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/weftdb/weft/cmd/weft/internal/report"
	"github.com/weftdb/weft/cmd/weft/internal/tty"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
)

// hostile has everything that a terminal acts on.
const hostile = "a\x1b[31mb\x9b2J\u009b1mc\u202ed\u2066e\u2028f\x07g\rh\x7f\U000e0041\ufeff"

// quiet fails if a terminal would act on what was printed.
func quiet(t *testing.T, what, text string) {
	t.Helper()
	for i, r := range text {
		if _, n := utf8.DecodeRuneInString(text[i:]); tty.Acts(r) || r == utf8.RuneError && n == 1 {
			t.Errorf("%s: %q has %q", what, text, r)
			return
		}
	}
}

// No command that prints what others wrote gives a terminal anything to act on.
func TestForeignText(t *testing.T) {
	home, dir := filepath.Join(t.TempDir(), "home"), t.TempDir()
	said := 0
	weft := func(status int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if got := run(t.Context(), append(args, "--home", home), strings.NewReader(hostile), &out, &out); got != status {
			t.Fatalf("%q: got %d, %s", args, got, &out)
		}
		quiet(t, strings.Join(args, " "), out.String())
		if strings.Contains(out.String(), "[31m") {
			said++
		}
		return out.String()
	}
	text := `{"_id":1,"t":"a\u001b[31mb\u009b1mc\u202ed"}`
	name := "x" + strings.ToValidUTF8(strings.ReplaceAll(hostile, "\x9b2J", ""), "") + ".txt"
	if err := os.WriteFile(filepath.Join(dir, name), []byte(hostile), 0o600); err != nil {
		t.Skip(err) // a file system that has no such names
	}
	weft(0, "init")
	weft(0, "db", "create", "shop")
	weft(0, "insert", "shop", "things", text)
	weft(0, "insert", "shop", "things", `{"_id":"a\u001b[31mb"}`)
	weft(0, "bucket", "create", "album", "--db", "shop")
	if out := weft(0, "bucket", "push", "album", dir); !strings.Contains(out, "[31m") {
		t.Errorf("the file is neither stored nor listed as left out: %s", out)
	}
	weft(0, "bucket", "ls", "album")
	weft(0, "index", "create", "shop", "things", "t", "--partial", `{"t":"a\u001b[31m"}`)
	weft(0, "collection", "create", "shop", "strict", "--schema", `{"title":"a\u001b[31m","required":["a\u001b[31m"]}`)
	printed := [][]string{
		{"find", "shop", "things"},
		{"find", "shop", "things", "--table"},
		{"get", "shop", "things", "1"},
		{"export", "shop"},
		{"export", "shop", "things"},
		{"distinct", "shop", "things", "t"},
		{"run", "shop", `{"find":"things"}`},
		{"aggregate", "shop", "things", "[]"},
		{"index", "ls", "shop", "things"},
		{"collection", "show", "shop", "things"},
		{"collection", "show", "shop", "strict"},
	}
	for _, args := range printed {
		before := said
		weft(0, args...)
		if said == before {
			t.Errorf("%q does not print it: nothing is shown of it", args)
		}
		weft(0, append(args, "--json")...)
	}
	for _, args := range [][]string{
		{"insert", "shop", "strict", `{"_id":2}`},
		{"insert", "shop", "things", text},
		{"get", "shop", "things", "\x1b[31m"},
		{"find", "\x1b[31m", "x"},
		{"bucket", "cat", "album", "\x1b[31m"},
		{"bucket", "ls", "\x1b[31m"},
		{"db", "join", "weft:\x1b[31m"},
		{"relay", "add", "\x1b[31m"},
		{"inbox", "send", "\x1b[31m", "x"},
	} {
		weft(1, args...)
	}
	weft(2, "\x1b[31m")
	weft(2, "find", "--\x1b[31m")
	weft(2, "key", "create", "--type", "\x1b[31m")
}

// What a peer says of itself, and of why it refuses, reaches no terminal either, nor forges
// a line.
func TestForeignStatus(t *testing.T) {
	forged := "no\nforged line" + strings.ToValidUTF8(hostile, "")
	for what, show := range map[string]func(a *app) error{
		"status": func(a *app) error {
			return a.printStatus(report.StatusOf("shop", &weftv1.DatabaseStatusResponse{Peers: []*weftv1.PeerStatus{{Peer: "p", Role: "relay", State: "refused", Reason: forged}}}))
		},
		"database": func(a *app) error { return a.printDatabase(&weftv1.Database{Name: forged, Id: "b"}) },
		"key":      func(a *app) error { return a.printKey(&weftv1.Key{Name: forged}) },
		"message":  func(a *app) error { return a.printWatched(messageOutput{From: forged}) },
		"error":    func(a *app) error { a.report(usagef("%s", forged), nil); return nil },
	} {
		for _, asJSON := range []bool{false, true} {
			var out bytes.Buffer
			s := &tty.Screen{W: &out}
			if err := show(&app{out: s, err: s, json: asJSON}); err != nil {
				t.Fatal(err)
			}
			quiet(t, what, out.String())
			if !strings.Contains(out.String(), "forged line") || strings.Contains(out.String(), "\nforged") {
				t.Errorf("%s: got %q", what, &out)
			}
		}
	}
}

// All output goes through a screen: nothing else names what people read.
func TestOneScreen(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := s.X.(*ast.Ident)
			if ok && (x.Name == "os" && (s.Sel.Name == "Stdout" || s.Sel.Name == "Stderr") && name != "main.go" ||
				x.Name == "fmt" && (s.Sel.Name == "Print" || s.Sel.Name == "Printf" || s.Sel.Name == "Println")) {
				t.Errorf("%s uses %s.%s", name, x.Name, s.Sel.Name)
			}
			return true
		})
	}
}
