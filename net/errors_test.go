package net

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// Every exported error is made with a kind, here or in a room below.
func TestErrorsHaveKinds(t *testing.T) {
	seen := 0
	for _, dir := range []string{".", "internal/thread", "internal/blobs", "internal/control", "internal/verify", "internal/format", "internal/wire", "internal/mux"} {
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				seen += checkErrors(t, path, d)
			}
		}
	}
	if seen < 30 {
		t.Errorf("got %d errors, want all", seen)
	}
}

// checkErrors counts the exported errors that a declaration makes.
func checkErrors(t *testing.T, path string, d ast.Decl) (n int) {
	g, ok := d.(*ast.GenDecl)
	if !ok || g.Tok != token.VAR {
		return 0
	}
	for _, s := range g.Specs {
		v := s.(*ast.ValueSpec)
		for i, name := range v.Names {
			if !strings.HasPrefix(name.Name, "Err") || i >= len(v.Values) {
				continue
			}
			n++
			made := v.Values[i]
			if call, ok := made.(*ast.CallExpr); ok {
				made = call.Fun
			}
			from, ok := made.(*ast.SelectorExpr)
			if !ok {
				t.Errorf("%s: %s has no kind", path, name.Name)
				continue
			}
			switch room := from.X.(*ast.Ident).Name; {
			case room == "fault" && (from.Sel.Name == "New" || from.Sel.Name == "Of"):
			case (room == "format" || room == "blobs" || room == "control" || room == "verify" || room == "thread") && from.Sel.Name == name.Name:
			default:
				t.Errorf("%s: %s is made by %s.%s", path, name.Name, room, from.Sel.Name)
			}
		}
	}
	return n
}
