package db_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/journal"
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
	vectors.Check(t, "fold", "docs/design/db.md, Rules, and docs/design/places.md: records, and what all before one and itself give", folded(t)...)
}

// folded has records that are folded one after the other: several reasons in an atomic record,
// upserts, the order of new fields, one body for several operations, two logs at one time.
func folded(t *testing.T) (all []vectors.Vector) {
	const insert, update, replace, remove = 1, 2, 3, 4
	op := func(kind int, id, filter, doc string, upsert ...bool) db.Op {
		o := semanticsOp{Op: []string{"", "insert", "update", "replace", "delete"}[kind], C: "c", Upsert: len(upsert) > 0}
		switch body := json.RawMessage(doc); kind {
		case insert:
			o.Doc = body
		case remove:
			o.ID, o.Q = json.RawMessage(id), json.RawMessage(filter)
		case replace, update:
			o.ID, o.Q, o.U = json.RawMessage(id), json.RawMessage(filter), body
		}
		return o.encoded(t)
	}
	inc := `{"$inc":{"n":1}}`
	other := op(update, `1`, `{}`, inc, true)
	other.Coll = "d"
	dup := op(insert, "", "", `{"_id":1}`)
	var es []journal.Entry
	a := newReplica(t, "folded")
	for i, r := range []struct {
		name   string
		atomic bool
		log    byte
		at     int // 0, or of which record it has the time, and one more
		ops    []db.Op
		raw    []byte
		sees   int // of a horizon, how many of the records before it
	}{
		{name: "two inserts", ops: []db.Op{op(insert, "", "", `{"_id":1,"n":1}`), op(insert, "", "", `{"_id":2,"n":"x"}`)}},
		{name: "new fields in order", ops: []db.Op{op(update, `1`, `{"n":1}`, `{"$set":{"z":1,"b.c":2,"a":3,"b.a":4},"$inc":{"n":1,"k":5}}`)}},
		{name: "an upsert of a filter's equalities", ops: []db.Op{op(update, `"u"`, `{"y":{"$exists":false},"k":"v","_id":"u","e":[1]}`, `{"$set":{"y":1,"a":2},"$setOnInsert":{"s":2}}`, true)}},
		{name: "an upsert of what is there and does not match", ops: []db.Op{op(update, `1`, `{"n":77}`, inc, true)}},
		{name: "atomic, several reasons", atomic: true, ops: []db.Op{dup, op(update, `2`, `{"n":99}`, `{"$set":{"m":1}}`), op(insert, "", "", `{"_id":3}`)}},
		{name: "atomic, on what was written before in it", atomic: true, ops: []db.Op{op(insert, "", "", `{"_id":4}`), op(update, `4`, `{}`, inc)}},
		{name: "atomic, after what is refused", atomic: true, ops: []db.Op{dup, op(update, `1`, `{}`, `{"$set":{"x":1}}`), op(insert, "", "", `{"_id":5}`), op(insert, "", "", `{"_id":5}`)}},
		{name: "independent, after what is refused", ops: []db.Op{dup, op(update, `1`, `{}`, `{"$set":{"x":1}}`)}},
		{name: "deleted, and not there any more", ops: []db.Op{op(remove, `2`, `{}`, ""), op(update, `2`, `{}`, inc), op(replace, `4`, `{"n":1}`, `{"r":1}`)}},
		{name: "one body", ops: []db.Op{op(update, `1`, `{}`, inc, true), op(update, `"new"`, `{}`, inc, true), other}},
		{name: "malformed", raw: []byte{1, 0, 0}},
		{name: "what cannot be added", ops: []db.Op{op(update, `1`, `{}`, `{"$set":{"w":1},"$inc":{"b":1}}`), op(update, `1`, `{}`, `{"$set":{"_mod":1}}`)}},
		{name: "the higher log of two at one time", log: 3, ops: []db.Op{op(insert, "", "", `{"_id":"twice","of":3}`)}},
		{name: "the lower log, at the time of the one before", log: 2, at: 13, ops: []db.Op{op(insert, "", "", `{"_id":"twice","of":2}`)}},
		{name: "a horizon", log: 4, sees: 13},
		{name: "what a horizon has not seen, dated back", log: 5, at: 2, ops: []db.Op{op(update, `1`, `{}`, `{"$set":{"late":1}}`), dup}},
		{name: "a horizon that names less than one that it has seen", log: 4, sees: 2},
	} {
		e := journal.Entry{
			ID:   clock.RecordID{Log: clock.LogID{max(r.log, 1)}, Seq: uint64(i + 1), Hash: clock.Hash{byte(i), 1}},
			Time: clock.Time(1_700_000_000_000+int64(i)*1000) << 16, Atomic: r.atomic, Payload: r.raw, Writer: "did:key:w", Role: "writer",
		}
		if r.at > 0 {
			e.Time = es[r.at-1].Time
		}
		if r.sees > 0 {
			tops := map[clock.LogID]clock.RecordID{}
			for _, o := range es[:r.sees] {
				tops[o.ID.Log] = o.ID
			}
			e.Payload = db.EncodeHorizon(e.Time-1, slices.Collect(maps.Values(tops)))
		} else if r.raw == nil {
			e.Payload = db.Encode(r.ops)
		}
		es = append(es, e)
		hash, out := db.Reference(es)
		if a.deliver(t, e); a.x.Info().Hash != hash {
			t.Errorf("%s: a database has another state than the reference", r.name)
		}
		docs, refused := map[string]string{}, map[string]string{}
		for k, v := range out {
			if text, is := strings.CutPrefix(k, "refused "); is {
				refused[text] = v
			} else if doc, _, _ := strings.Cut(v, " "); doc != "" {
				coll, key, _ := strings.Cut(k, "\x00")
				docs[coll+" "+hex.EncodeToString([]byte(key))] = doc
			}
		}
		all = append(all, vectors.Vector{Name: r.name, Bytes: e.Payload, Gives: vectors.Gives{
			"time": e.Time, "log": e.ID.Log, "seq": e.ID.Seq, "hash": e.ID.Hash, "atomic": e.Atomic, "documents": docs, "refusals": slices.Sorted(maps.Values(refused)), "state": hash,
		}})
	}
	return all
}
