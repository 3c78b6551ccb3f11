package main

import (
	"slices"
	"testing"
)

// Tab goes on with a method of MongoDB's shell as with a command of this one.
func TestCompleteMethods(t *testing.T) {
	s := &shell{app: &app{}, db: "atlas"}
	for line, want := range map[string][]string{
		"db.cities.update": {"db.cities.updateMany(", "db.cities.updateOne("},
		"db.a.b.findO":     {"db.a.b.findOne("},
		"db.cities.frob":   nil,
		"agg":              {"aggregate"},
	} {
		begun, got := s.complete(line)
		if begun != line || !slices.Equal(got, want) {
			t.Errorf("%s: got %q of %q, want %q", line, got, begun, want)
		}
	}
}
