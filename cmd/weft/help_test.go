package main

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/weftdb/weft/cmd/weft/internal/help"
	"github.com/weftdb/weft/cmd/weft/internal/tty"
)

// Every command is in a group and has examples, and each of these is a command line that
// weft understands.
func TestExamples(t *testing.T) {
	root := func() *cobra.Command { return (&app{out: io.Discard, err: io.Discard}).root() }
	tried := map[string]bool{}
	var each func(cmd *cobra.Command)
	each = func(cmd *cobra.Command) {
		path := strings.TrimPrefix(cmd.CommandPath(), "weft ")
		if cmd.Parent() != nil && cmd.Parent().Parent() == nil && cmd.GroupID == "" {
			t.Errorf("%s is in no group", path)
		}
		if len(cmd.Commands()) > 0 {
			for _, c := range cmd.Commands() {
				each(c)
			}
			return
		}
		tried[path] = true
		if cmd.Example == "" {
			t.Errorf("%s has no example", path)
		}
		for line := range strings.Lines(cmd.Example) {
			args, whole, err := tty.Words(strings.TrimSpace(line))
			if err != nil || !whole || args[0] != "weft" {
				t.Fatalf("%q: %v", line, err)
			}
			to, rest, err := root().Find(args[1:])
			if err == nil {
				err = to.ParseFlags(rest)
			}
			if err == nil && to.Args != nil {
				err = to.Args(to, to.Flags().Args())
			}
			if err != nil || to.CommandPath() != cmd.CommandPath() {
				t.Errorf("%q is not of %s: %v", line, path, err)
			}
		}
	}
	each(root())
	for path := range help.Examples {
		if !tried[path] {
			t.Errorf("there are examples of %q, which is no command", path)
		}
	}
}
