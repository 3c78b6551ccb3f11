package pebblekv

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/record"
)

// What pebble says about a damaged store names none of its packages.
func TestPlain(t *testing.T) {
	for _, err := range []error{record.ErrInvalidChunk, errors.New("pebble/record: unexpected EOF"), errors.New("pebble: no such thing")} {
		if got := plain(err); got == "" || strings.Contains(got, "pebble") {
			t.Errorf("%v is said as %q", err, got)
		}
	}
}
