package main

import (
	"os"
	"os/exec"
	"path/filepath"
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
// seals, keys of values, the state hash, and what it can decode.
func TestSecondReaderVectors(t *testing.T) {
	path := python()
	if path == "" {
		t.Skip(noPython)
	}
	cmd := exec.Command(path, "../../testdata/reader/vectors.py", "../../testdata/vectors")
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	t.Logf("%s", out)
}
