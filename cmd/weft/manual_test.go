package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Every command has a manual page, and there are completions for each shell. With WEFT_MANUAL, a
// folder, these are kept in man and completions there; pages have the date that
// SOURCE_DATE_EPOCH says.
func TestManual(t *testing.T) {
	dir := os.Getenv("WEFT_MANUAL")
	if dir == "" {
		dir = t.TempDir()
	}
	root := (&app{out: io.Discard, err: io.Discard}).root()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.DisableAutoGenTag = true
	for _, d := range []string{"man", "completions"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := doc.GenManTree(root, &doc.GenManHeader{Title: "WEFT", Section: "1", Source: "Weft", Manual: "Weft"}, filepath.Join(dir, "man")); err != nil {
		t.Fatal(err)
	}
	completions := map[string]func(string) error{
		"weft.bash": func(f string) error { return root.GenBashCompletionFileV2(f, true) },
		"_weft":     root.GenZshCompletionFile,
		"weft.fish": func(f string) error { return root.GenFishCompletionFile(f, true) },
		"weft.ps1":  root.GenPowerShellCompletionFileWithDesc,
	}
	for name, write := range completions {
		if err := write(filepath.Join(dir, "completions", name)); err != nil {
			t.Fatal(err)
		}
	}
	var each func(cmd *cobra.Command)
	each = func(cmd *cobra.Command) {
		if !cmd.IsAvailableCommand() {
			return
		}
		man, err := os.ReadFile(filepath.Join(dir, "man", strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1"))
		if err != nil || !strings.Contains(string(man), ".SH SYNOPSIS") {
			t.Errorf("%s has no manual page: %v", cmd.CommandPath(), err)
		}
		for _, c := range cmd.Commands() {
			each(c)
		}
	}
	each(root)
}
