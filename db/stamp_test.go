package db_test

import (
	"bytes"
	"testing"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/vectors"
)

// TestVectors holds the texts of stamps against testdata/vectors/stamps.json.
func TestVectors(t *testing.T) {
	s := db.Stamp{Time: 1_700_000_000_000<<16 + 7, Log: clock.LogID(bytes.Repeat([]byte{1}, 32)), Hash: clock.Hash(bytes.Repeat([]byte{2}, 32)), Index: 4095}
	if back, err := db.ParseStamp(db.StampText(s)); err != nil || back != s {
		t.Errorf("got %v, %v", back, err)
	}
	vectors.Check(t, "stamps", "docs/design/watch.md, Refused operations", vectors.Vector{
		Name: "stamp", Values: s, Gives: vectors.Gives{"text": db.StampText(s)},
	})
}
