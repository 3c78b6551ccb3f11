package fault

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"regexp"
	"strconv"
	"syscall"
	"testing"
)

var errNone = New(NotFound, "not found")

func TestErrors(t *testing.T) {
	cause := errors.New("disk")
	for _, c := range []struct {
		err      error
		kind     Kind
		sentence string
		is       error
	}{
		{errNone, NotFound, "not found", errNone},
		{Of(errNone, "no collection %q", "c"), NotFound, `no collection "c"`, errNone},
		{Of(errNone, "no file: %w", cause), NotFound, "no file: disk", cause},
		{fmt.Errorf("open: %w", Of(errNone, "no collection")), NotFound, "open: no collection", errNone},
		{Errorf(BadValue, "bad: %w", errNone), BadValue, "bad: not found", errNone},
		{cause, Internal, "disk", cause},
		{fmt.Errorf("read: %w", fs.ErrNotExist), NotFound, "read: file does not exist", fs.ErrNotExist},
		{&fs.PathError{Op: "open", Path: "a/b", Err: syscall.ENOTDIR}, InvalidPath, "open a/b: " + syscall.ENOTDIR.Error(), syscall.ENOTDIR},
		{&fs.PathError{Op: "mkdir", Path: "a", Err: syscall.EEXIST}, AlreadyExists, "mkdir a: " + syscall.EEXIST.Error(), fs.ErrExist},
		{context.DeadlineExceeded, Timeout, "context deadline exceeded", context.DeadlineExceeded},
		{errors.Join(cause, Errorf(Corrupt, "torn")), Corrupt, "disk\ntorn", cause},
	} {
		if got := KindOf(c.err); got != c.kind {
			t.Errorf("%v: got kind %s, want %s", c.err, got, c.kind)
		}
		if got := c.err.Error(); got != c.sentence {
			t.Errorf("got %q, want %q", got, c.sentence)
		}
		if !errors.Is(c.err, c.is) {
			t.Errorf("%v is not %v", c.err, c.is)
		}
	}
	if KindOf(nil) != "" || Is(nil, Internal) {
		t.Error("nil has a kind")
	}
	if errors.Is(Of(errNone, "x"), New(NotFound, "not found")) {
		t.Error("an error is another sentinel of its kind")
	}
}

// Every constant of type Kind is in the list, once, and is a word.
func TestKindsAreClosed(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "kind.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[Kind]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			word, _ := strconv.Unquote(lit.Value)
			if declared[Kind(word)] {
				t.Errorf("%s is declared twice", word)
			}
			declared[Kind(word)] = true
		}
		return true
	})
	listed := map[Kind]bool{}
	for _, k := range Kinds() {
		if listed[k] || !declared[k] {
			t.Errorf("%s is listed twice, or not declared", k)
		}
		listed[k] = true
		if !regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`).MatchString(string(k)) {
			t.Errorf("%q is no word", k)
		}
	}
	if len(listed) != len(declared) {
		t.Errorf("%d kinds are listed, %d declared", len(listed), len(declared))
	}
	if Known("gap", Internal) != Gap || Known("new", Internal) != Internal {
		t.Error("Known tells wrong")
	}
}
