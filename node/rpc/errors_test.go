package rpc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"connectrpc.com/connect"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
)

// Every kind has a status: a row, or none where it blames the request.
func TestEveryKindHasAStatus(t *testing.T) {
	rows := 0
	for _, k := range fault.Kinds() {
		c, ok := statuses[k]
		if ok {
			rows++
		}
		if !ok && !k.OfRequest() || ok && k.OfRequest() && c == connect.CodeInvalidArgument {
			t.Errorf("kind %s: has a row: %v, with status %d", k, ok, c)
		}
	}
	if rows != len(statuses) {
		t.Errorf("%d rows, %d of them of a kind", len(statuses), rows)
	}
}

// The table in docs/design/node.md is that of the code. Kinds that blame the request and
// have no row may be left out of it.
func TestStatusesOfPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/design/node.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| kinds | status of RPC | when |\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	word, said := regexp.MustCompile("`([a-z_]+)`"), map[string]string{}
	for row := range strings.Lines(table) {
		cells := strings.Split(row, " | ")
		for _, m := range word.FindAllStringSubmatch(cells[0], -1) {
			if before, ok := said[m[1]]; ok {
				t.Errorf("%s is said twice: %s, %s", m[1], before, cells[1])
			}
			said[m[1]] = cells[1]
		}
	}
	for _, k := range fault.Kinds() {
		status, ok := said[string(k)]
		delete(said, string(k))
		if _, row := statuses[k]; !ok && row || ok && status != statusOf(k).String() {
			t.Errorf("%s is %s, the page says %q", k, statusOf(k), status)
		}
	}
	for w := range said {
		t.Errorf("%s is no kind", w)
	}
}

// An error goes out with the status and the word of its kind, and its sentence.
func TestOutward(t *testing.T) {
	for _, c := range []struct {
		err      error
		word     fault.Kind
		status   connect.Code
		sentence string
	}{
		{fault.Of(node.ErrNotFound, "database x does not exist"), fault.NotFound, connect.CodeNotFound, "database x does not exist"},
		{fmt.Errorf("read: %w", fs.ErrNotExist), fault.NotFound, connect.CodeNotFound, "read: file does not exist"},
		{context.Canceled, fault.Canceled, connect.CodeCanceled, "context canceled"},
		{errors.New("disk"), fault.Internal, connect.CodeInternal, "disk"},
		{connect.NewError(connect.CodeResourceExhausted, errors.New("big")), fault.TooLarge, connect.CodeResourceExhausted, "big"},
		{outward(node.ErrClosed), fault.Closed, connect.CodeUnavailable, "the node is closed"},
	} {
		var out *connect.Error
		if !errors.As(outward(c.err), &out) {
			t.Fatalf("%v: no error of the API", c.err)
		}
		if out.Code() != c.status || out.Message() != c.sentence || len(out.Details()) != 1 {
			t.Errorf("got %v with %d details, want %s: %s", out, len(out.Details()), c.status, c.sentence)
			continue
		}
		v, err := out.Details()[0].Value()
		if err != nil {
			t.Fatal(err)
		}
		if got := v.(*weftv1.ErrorInfo).GetCode(); got != string(c.word) {
			t.Errorf("%v: got word %s, want %s", c.err, got, c.word)
		}
	}
}
