package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// python returns a Python that has what testdata/reader needs, or "".
func python() string {
	for _, name := range []string{os.Getenv("WEFT_PYTHON"), "python3", "/usr/bin/python3"} {
		if path, err := exec.LookPath(name); err == nil && exec.Command(path, "-c", "import cryptography, cbor2, zstandard, bson").Run() == nil {
			return path
		}
	}
	return ""
}

const noPython = "no python3 with python3-cryptography, python3-cbor2, python3-zstandard, python3-pymongo is here"

// TestSecondReader runs the stories of testdata/reader: a program in another language,
// written from docs alone, opens and verifies what this one wrote.
func TestSecondReader(t *testing.T) {
	path := python()
	if path == "" {
		t.Skip(noPython)
	}
	p := scripts("testdata/reader")
	setup := p.Setup
	p.Setup = func(e *testscript.Env) error {
		if err := setup(e); err != nil {
			return err
		}
		e.Setenv("PYTHON", path)
		e.Setenv("PYTHONDONTWRITEBYTECODE", "1")
		e.Setenv("READER", filepath.Join(e.Getenv("TESTDATA"), "reader"))
		return nil
	}
	testscript.Run(t, p)
}

// TestSecondReaderVectors has the same program check testdata/vectors: signatures, hashes,
// seals, keys of values, the state hash, and what it can decode. It notices when the last
// byte of each vector is another.
func TestSecondReaderVectors(t *testing.T) {
	path := python()
	if path == "" {
		t.Skip(noPython)
	}
	const folder = "../../testdata/vectors"
	check := func(folder string) (string, error) {
		cmd := exec.CommandContext(t.Context(), path, "../../testdata/reader/vectors.py", folder)
		cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := check(folder)
	if t.Logf("%s", out); err != nil {
		t.Fatal(err)
	}
	altered := t.TempDir()
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	last := regexp.MustCompile(`(?m)^      "bytes": ".*"`)
	want := 0
	with := map[string]bool{} // files that have bytes
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = last.ReplaceAllFunc(text, func(line []byte) []byte {
			want++
			with[filepath.Base(file)] = true
			end := len(line) - 2
			other := byte('0')
			if line[end] == other {
				other = '1'
			}
			return append(line[:end:end], other, '"')
		})
		if err := os.WriteFile(filepath.Join(altered, filepath.Base(file)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err = check(altered); err == nil {
		t.Error("vectors that were altered are taken for right")
	}
	for name := range with {
		if !strings.Contains(out, "DIFFERS "+name) {
			t.Errorf("nothing of %s is missed when it is altered", name)
		}
	}
	if got := strings.Count(out, "DIFFERS"); got < want*3/4 {
		t.Errorf("%d of %d altered vectors are noticed:\n%s", got, want, out)
	}
}
