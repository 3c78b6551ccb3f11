package command

import (
	"testing"

	"github.com/weftdb/weft/internal/fault"
)

// Every kind has a code and a name, one code has one name, and a reply tells the
// kind of its code again.
func TestMongoCodes(t *testing.T) {
	names, rows := map[int32]string{}, 0
	for _, k := range fault.Kinds() {
		c, ok := mongoCodes[k]
		if ok {
			rows++
		} else if c = mongoCodeOf(k); !k.OfRequest() || c.code == 0 || c.name == "" {
			t.Errorf("%s has no row", k)
		}
		if n, ok := names[c.code]; ok && n != c.name {
			t.Errorf("%d is %s and %s", c.code, n, c.name)
		}
		names[c.code] = c.name
		back := fault.KindOf(ReplyError(c.code, "x"))
		if mongoCodeOf(back).code != c.code {
			t.Errorf("%s has code %d, which tells %s", k, c.code, back)
		}
	}
	if len(mongoCodes) != rows {
		t.Errorf("%d rows, %d of them of a kind", len(mongoCodes), rows)
	}
	for code, want := range map[int32]fault.Kind{
		1: fault.Internal, 2: fault.BadValue, 13: fault.Rule, 26: fault.NamespaceNotFound, 48: fault.AlreadyExists, 112: fault.Conflict,
		121: fault.Schema, 10334: fault.TooLarge, 11000: fault.DuplicateKey, 40353: fault.InvalidArgument,
	} {
		if got := fault.KindOf(ReplyError(code, "x")); got != want {
			t.Errorf("code %d tells %s, want %s", code, got, want)
		}
	}
}
