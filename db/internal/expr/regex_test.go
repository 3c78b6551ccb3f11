package expr_test

import (
	"strings"
	"testing"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// What a search by a regular expression may take is bounded and counted, by the states of
// the pattern and the length of the text: every replica judges the expression again.
func TestRegexCost(t *testing.T) {
	long := strings.Repeat("x", 1<<19)
	doc := parse(t, `{"s": "`+long+`"}`).Data
	for _, c := range []struct {
		name, expr string
		kind       fault.Kind // "" if it may be judged
	}{
		{"states", `{"$regexMatch": {"input": "$s", "regex": "` + strings.Repeat("(a?b?c?){1,300}", 100) + `"}}`, fault.InvalidRegex},
		{"bytes", `{"$regexMatch": {"input": "$s", "regex": "` + strings.Repeat("a", 40_000) + `"}}`, fault.InvalidRegex},
		{"states and text", `{"$regexMatch": {"input": "$s", "regex": "(x?){1,400}z"}}`, fault.ExceededMemoryLimit},
		{"few states", `{"$regexMatch": {"input": "$s", "regex": "y$"}}`, ""},
		{"searches that look at all", `{"$regexFindAll": {"input": "$s", "regex": "x*y|x"}}`, fault.ExceededMemoryLimit},
		{"few matches", `{"$regexFindAll": {"input": "$s", "regex": "^x"}}`, ""},
	} {
		x, err := expr.Compile(parse(t, c.expr))
		if err != nil {
			t.Fatal(err)
		}
		m := &value.Meter{Left: 1 << 30}
		_, err = x.Eval(&expr.Env{Root: doc, Now: now, Meter: m})
		if c.kind == "" && err != nil || c.kind != "" && !fault.Is(err, c.kind) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.kind)
		}
		if spent := 1<<30 - m.Left; c.kind != fault.InvalidRegex && spent < len(long)/16*value.MeterTick {
			t.Errorf("%s: %d counted for %d bytes of text", c.name, spent, len(long))
		}
	}
}
