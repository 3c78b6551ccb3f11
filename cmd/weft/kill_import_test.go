package main

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A process that is killed in the middle of an import has kept a part of it.
// Running the import again with skip gives exactly the file's documents, those
// without an _id included.
func TestKillImport(t *testing.T) {
	const docs, kills = 40_000, 3
	file := filepath.Join(t.TempDir(), "docs.jsonl.gz")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	w := bufio.NewWriter(z)
	for i := range docs {
		if i%2 == 0 {
			fmt.Fprintf(w, "{\"_id\":%d,\"n\":%d}\n", i, i)
		} else {
			fmt.Fprintf(w, "{\"n\":%d,\"text\":%q}\n", i, strings.Repeat("weft ", 30))
		}
	}
	for _, err := range []error{w.Flush(), z.Close(), f.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	// By the name weft, the test is the command: see TestMain.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "weft")
	if err := os.Symlink(self, bin); err != nil {
		t.Skip(err)
	}
	home := t.TempDir()
	weft := func(args ...string) *exec.Cmd {
		cmd := exec.Command(bin, append(args, "--json")...)
		cmd.Env = append(os.Environ(), "WEFT_HOME="+home)
		return cmd
	}
	for _, args := range [][]string{{"init"}, {"db", "create", "shop"}} {
		if out, err := weft(args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for i := range kills {
		cmd := weft("import", "shop", "things", file, "--on-duplicate", "skip")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(time.Duration(250+150*i)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		kill.Stop()
	}
	out, err := weft("import", "shop", "things", file, "--on-duplicate", "skip").Output()
	var done importOutput
	if err == nil {
		err = json.Unmarshal(out, &done)
	}
	if err != nil || done.Inserted+done.Skipped != docs || done.Failed != 0 {
		t.Fatalf("import: %v: %s", err, out)
	}
	t.Logf("%d documents were there after %d kills", done.Skipped, kills)
	if out, err := weft("count", "shop", "things").Output(); err != nil || strings.TrimSpace(string(out)) != fmt.Sprint(docs) {
		t.Errorf("got %s documents, %v, want %d", out, err, docs)
	}
	out, err = weft("aggregate", "shop", "things", `[{"$group":{"_id":null,"n":{"$sum":"$n"}}}]`).Output()
	var row struct{ N int64 }
	if err == nil {
		err = json.Unmarshal(out, &row)
	}
	if want := int64(docs) * (docs - 1) / 2; err != nil || row.N != want {
		t.Errorf("the sum is %d, %v, want %d", row.N, err, want)
	}
}
