package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// docs/cli.md is what --help says of every command; WEFT_UPDATE=1 writes it anew.
func TestReference(t *testing.T) {
	root := (&app{}).root()
	root.InitDefaultCompletionCmd()
	var page bytes.Buffer
	page.WriteString("# Command line\n\nWhat `--help` says of every command. This page is generated from the code; the guides show the\ncommands at work: [guides](guide/README.md).\n")
	n := 0
	var each func(*cobra.Command)
	each = func(cmd *cobra.Command) {
		if !cmd.IsAvailableCommand() && cmd != root {
			return
		}
		n++
		var help bytes.Buffer
		cmd.SetOut(&help)
		if err := cmd.Help(); err != nil {
			t.Fatal(err)
		}
		text, _, _ := strings.Cut(help.String(), "\nGlobal Flags:")
		page.WriteString("\n## " + cmd.CommandPath() + "\n\n```text\n" + strings.TrimSpace(text) + "\n```\n")
		for _, sub := range cmd.Commands() {
			each(sub)
		}
	}
	each(root)
	if n < 60 {
		t.Errorf("only %d commands found", n)
	}
	const name = "../../docs/cli.md"
	if os.Getenv("WEFT_UPDATE") != "" {
		if err := os.WriteFile(name, page.Bytes(), 0o644); err != nil { //nolint:gosec // a page for everybody
			t.Fatal(err)
		}
	}
	if has, err := os.ReadFile(name); err != nil || !bytes.Equal(has, page.Bytes()) {
		t.Errorf("docs/cli.md is not what --help says, %v: WEFT_UPDATE=1 go test ./cmd/weft -run TestReference", err)
	}
}
