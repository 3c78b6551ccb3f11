package weft_test

import (
	"go/ast"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// Every exported error has a word: it is made by package fault.
func TestExportedErrorsHaveAWord(t *testing.T) {
	// Parts that do not make their errors so yet.
	later := map[string]bool{"node": true, "net": true, "db": true}
	seen := 0
	goFiles(t, func(path string, file *ast.File) {
		dir := filepath.Dir(path)
		if strings.HasSuffix(path, "_test.go") || later[dir] || strings.HasPrefix(dir, "db/") {
			return
		}
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				s := spec.(*ast.ValueSpec)
				for i, name := range s.Names {
					if !strings.HasPrefix(name.Name, "Err") || !name.IsExported() {
						continue
					}
					seen++
					if i >= len(s.Values) || !madeByFault(s.Values[i]) {
						t.Errorf("%s: %s is not made by package fault, so it has no word", path, name.Name)
					}
				}
			}
		}
	})
	if seen < 30 {
		t.Errorf("got %d exported errors, want all of them", seen)
	}
}

// madeByFault reports whether e is a call of fault.New, fault.Of or fault.Errorf,
// or the exported error of another package under a second name.
func madeByFault(e ast.Expr) bool {
	if alias, ok := e.(*ast.SelectorExpr); ok {
		return strings.HasPrefix(alias.Sel.Name, "Err")
	}
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := f.X.(*ast.Ident)
	return ok && pkg.Name == "fault"
}
