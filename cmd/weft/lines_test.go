package main

import (
	"strings"
	"testing"

	"github.com/weftdb/weft/internal/fault"
)

// A line that is too long is named by its number, as import names it; those before it count.
func TestLongLine(t *testing.T) {
	var seen []int
	err := lines(strings.NewReader("{}\n\n{}\n"+strings.Repeat("x", maxDocument+1)), func(n int, _ []byte) error {
		seen = append(seen, n)
		return nil
	})
	if !fault.Is(err, fault.Malformed) || !strings.Contains(err.Error(), "line 4 has more than") || len(seen) != 2 || seen[1] != 3 {
		t.Errorf("got %v after lines %v", err, seen)
	}
}
