//go:build slow

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A command whose output nobody reads ends some seconds after a signal, with its reason.
func TestOutputThatNobodyReadsSlow(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	docs := filepath.Join(t.TempDir(), "docs.jsonl")
	if err := os.WriteFile(docs, []byte(strings.Repeat("{\"s\":\""+strings.Repeat("x", 1000)+"\"}\n", 2000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init"}, {"db", "create", "m"}, {"import", "m", "c", docs}} {
		if out, err := command(t, home, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s, %v", out, err)
		}
	}
	for _, args := range [][]string{{"find", "m", "c"}, {"export", "m"}} {
		cmd := command(t, home, args...)
		var said strings.Builder
		cmd.Stderr = &said
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout = w
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(make([]byte, 1)); err != nil { // it writes now
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(said.String(), "interrupted") {
			t.Errorf("%v ended with %v and said %q", args, err, said.String())
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
