package db_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
)

// lawful are the changes of a definition that decide what is accepted.
var lawful = []bsonD{
	d("$set", d("schema", `{"properties":{"n":{"maximum":2}}}`), "$inc", d("version", 1)),
	d("$set", d("schema", `{"required":["m"]}`, "level", "moderate"), "$inc", d("version", 1)),
	d("$set", d("level", "off")), d("$set", d("action", "warn")), d("$set", d("action", "error", "level", "strict")), d("$set", d("level", "off")),
	d("$unset", d("schema", "")),
	d("$set", d("rules", d("write", `writer == "did:key:1"`))),
	d("$set", d("rules", d("write", `op != "delete" && (!has(doc.n) || type(doc.n) != int || doc.n < 4)`))),
	d("$set", d("rules", d("write", `doc.n > old.n || now < timestamp(1)`, "read", "false"))),
	d("$set", d("rules", d("define", `writer != "did:key:2"`, "write", `member.role == "owner"`))),
	d("$set", d("rules", d("write", "nonsense ("))),
	d("$unset", d("rules", "")),
	d("$set", d("next", d("id", "a", "schema", `{"properties":{"n":{"maximum":4}}}`, "steps", `[{"default":{"path":"k","value":1}}]`))),
	d("$unset", d("next", "")),
	d("$set", d("next", d("id", "b", "steps", "["))),
}

// genLaws draws records whose operations meet changes of schema and rules.
func genLaws(t *rapid.T, tb testing.TB, n int) []journal.Entry {
	var es []journal.Entry
	var times [3]clock.Time
	for i := range rapid.IntRange(1, n).Draw(t, "records") {
		l := rapid.IntRange(0, 2).Draw(t, "log")
		times[l] += clock.Time(rapid.IntRange(1, 3).Draw(t, "tick"))
		e := journal.Entry{Time: times[l] << 16, Atomic: rapid.IntRange(0, 2).Draw(t, "atomic") == 0}
		e.Writer, e.Role = fmt.Sprint("did:key:", l+1), []string{"owner", "writer", "writer"}[l]
		e.ID = clock.RecordID{Log: clock.LogID{byte(l + 1)}, Seq: uint64(i + 1), Hash: clock.Hash{byte(i), byte(i >> 8), 1}}
		var ops []db.Op
		if i == 0 {
			ops = append(ops, db.NewOp(2, "system.collections", value.String("a"), raw(tb, d("_id", "a")), raw(tb, lawful[0]), true))
		} else if rapid.IntRange(0, 2).Draw(t, "law") == 0 {
			upd := rapid.SampledFrom(lawful).Draw(t, "change")
			f := raw(tb, d("_id", "a"))
			if rapid.IntRange(0, 9).Draw(t, "drop") == 0 {
				ops = append(ops, db.NewOp(4, "system.collections", value.String("a"), f, nil, false))
			} else {
				ops = append(ops, db.NewOp(2, "system.collections", value.String("a"), f, raw(tb, upd), true))
			}
		}
		for _, o := range genOps(t, tb) {
			if o.Coll != "system.collections" {
				o.Coll = "a"
				ops = append(ops, o)
			}
		}
		if len(ops) == 0 {
			continue
		}
		e.Payload = db.Encode(ops)
		es = append(es, e)
	}
	return es
}

// With changes of schema, level, action, rules and migrations in play, the same
// records give the same state and the same refusals in whatever order and
// portions they arrive: those of the reference fold.
func TestLawsConverge(t *testing.T) {
	checks(t, "60")
	rapid.Check(t, func(rt *rapid.T) {
		es := genLaws(rt, t, 20)
		for r := range 2 {
			st := openMemory(rt)
			x, j := openReplica(rt, t, st)
			if r == 1 {
				if err := db.SmallGroups(x.DB, 1, 1); err != nil {
					rt.Fatal(err)
				}
			}
			order := es
			if len(es) > 0 {
				order = rapid.Permutation(es).Draw(rt, fmt.Sprint("order", r))
			}
			for len(order) > 0 {
				n := rapid.IntRange(1, len(order)).Draw(rt, "delivered")
				if err := j.Deliver(order[:n]...); err != nil {
					rt.Fatal(err)
				}
				x.Wake()
				if err := x.Settle(t.Context()); err != nil {
					rt.Fatal(err)
				}
				order = order[n:]
			}
			same(rt, x, es, fold.Cut{})
			if r == 1 {
				same(rt, x, es, setVoid(rt, t, x, es))
			}
			if err := x.Close(); err != nil {
				rt.Fatal(err)
			}
			x, _ = openReplica(rt, t, st)
			if err := x.Close(); err != nil {
				rt.Fatal(err)
			}
			if err := st.Close(); err != nil {
				rt.Fatal(err)
			}
		}
	})
}
