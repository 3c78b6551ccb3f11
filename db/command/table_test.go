package command

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// words tells what the page calls the kinds of fields; an anyArg is not told.
var words = map[argKind]string{
	docArg: "document", textArg: "string", nameArg: "collection", scopeArg: "collection, or 1", boolArg: "boolean",
	countArg: "count", numberArg: "integer",
}

// row returns the line of a command in the page.
func (c *spec) row() string {
	yes := map[bool]string{true: "yes"}
	var takes, passes []string
	for _, name := range slices.Sorted(maps.Keys(c.args)) {
		switch kind := c.args[name]; kind {
		case offArg, noArg:
			passes = append(passes, "`"+name+"`")
		default:
			takes = append(takes, strings.TrimSpace("`"+name+"` "+words[kind]))
		}
	}
	tx := yes[c.inTx != nil]
	if c.ends != nil {
		tx = "ends it"
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s |\n",
		c.name, words[c.first], strings.Join(takes, ", "), strings.Join(passes, ", "), tx, yes[c.explain != nil])
}

// The page of commands is the table of commands.
func TestCommandsOfPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/design/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := specs()
	slices.SortFunc(rows, func(a, b spec) int { return strings.Compare(a.name, b.name) })
	var want strings.Builder
	for _, c := range rows {
		want.WriteString(c.row())
	}
	_, got, _ := strings.Cut(string(text), "|---|---|---|---|---|---|\n")
	got, _, _ = strings.Cut(got, "\n\n")
	if strings.TrimSpace(got) != strings.TrimSpace(want.String()) {
		t.Errorf("the page is to have these rows:\n%s", want.String())
	}
	for _, name := range slices.Sorted(maps.Keys(commonFields)) {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("the page does not name the field %s, which all commands may have", name)
		}
	}
}

// What a command says of itself fits together: it runs, alone or in a transaction, and
// only what ends one keeps its writes.
func TestRowsOfCommandsFit(t *testing.T) {
	for _, c := range specs() {
		if (c.run == nil) == (c.ends == nil) || c.commits && c.ends == nil || c.inTx != nil && c.run == nil {
			t.Errorf("%s: the row does not fit together", c.name)
		}
	}
}
