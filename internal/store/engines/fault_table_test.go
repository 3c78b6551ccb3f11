package engines_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// A promise is what may be seen of a file of an engine under each of the faults: the
// tests of faults fail at anything else.
type promise struct {
	engine, file    string // the file as kindOf gives it, N a number
	what            string
	flip, cut, gone []outcome
}

var (
	opening = []outcome{atOpen}
	reading = []outcome{atOpen, atRead, harmless}
	maybe   = []outcome{atOpen, harmless}
	nothing = []outcome{harmless}
)

var promises = []promise{
	{"any", "ENGINE", "the engine's name", opening, opening, opening},
	{"any", "WITNESS", "how far it was durable", nothing, maybe, nothing},
	{"badger", "MANIFEST", "which tables there are", maybe, maybe, opening},
	{"badger", "N.sst", "table", opening, opening, opening},
	{"badger", "N.vlog", "log, and values of 4 KiB and more", reading, reading, []outcome{atOpen, atRead}},
	{"pebble", "MANIFEST-N", "which tables there are", maybe, maybe, opening},
	{"pebble", "EDITS", "how long MANIFEST was", maybe, maybe, nothing},
	{"pebble", "N.sst", "table", []outcome{atRead, harmless}, opening, opening},
	{"pebble", "N.log", "log, or an old one to write over", maybe, maybe, maybe},
	{"pebble", "OPTIONS-N", "settings of the last start", maybe, maybe, nothing},
	{"pebble", "marker.manifest.N.MANIFEST-N", "which MANIFEST; empty", nothing, nothing, opening},
	{"pebble", "marker.format-version.N.N", "which format; empty", nothing, nothing, opening},
}

// promised reports whether an outcome is one that may be seen.
func promised(engine, file, fault string, saw outcome) bool {
	i := slices.IndexFunc(promises, func(p promise) bool {
		return p.file == file && (p.engine == engine || p.engine == "any")
	})
	if i < 0 {
		return false
	}
	p := promises[i]
	return slices.Contains(map[string][]outcome{"a bit flipped": p.flip, "cut": p.cut, "missing": p.gone}[fault], saw)
}

// faultTable is the part of docs/design/store.md that says what a user sees.
func faultTable() string {
	var b strings.Builder
	b.WriteString("| engine | file | | a bit flipped | cut | missing |\n|---|---|---|---|---|---|\n")
	for _, p := range promises {
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s | %s |\n", p.engine, p.file, p.what, cell(p.flip), cell(p.cut), cell(p.gone))
	}
	return b.String()
}

func cell(may []outcome) string {
	short := map[outcome]string{atOpen: "**open**", atRead: "**read**", harmless: "whole"}
	var parts []string
	for _, o := range may {
		parts = append(parts, short[o])
	}
	return strings.Join(parts, ", ")
}

// TestFaultTable compares the table with the page.
func TestFaultTable(t *testing.T) {
	page, err := os.ReadFile("../../../docs/design/store.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := faultTable(); !strings.Contains(string(page), want) {
		t.Errorf("docs/design/store.md lacks this table:\n%s", want)
	}
}
