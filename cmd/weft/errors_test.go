package main

import (
	"testing"

	"github.com/weftdb/weft/internal/fault"
)

// Only what is not understood exits with 2, and only no error with 0.
func TestExitStatus(t *testing.T) {
	for _, kind := range append(fault.Kinds(), "") {
		want := map[fault.Kind]int{"": 0, fault.Usage: 2}
		got, known := exitStatus(kind), want[kind]
		if _, special := want[kind]; !special {
			known = 1
		}
		if got != known {
			t.Errorf("kind %q: got status %d, want %d", kind, got, known)
		}
	}
}
