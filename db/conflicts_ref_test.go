package db

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
)

// ReferenceConflicts folds entries from nothing, in stamp order, and returns as
// text the conflicts of the unique indexes that are defined in the end: what
// every replica must list.
func ReferenceConflicts(entries []Entry, void ...clock.LogID) []string {
	Reference(entries) // sorts them
	end := &tracker{states: map[string]state{}}
	end.foldAll(entries, void)
	var out []string
	for _, coll := range []string{"a", "b"} {
		def := end.definition(coll)
		if def == nil {
			continue
		}
		var seen []*index
		for _, x := range def.indexes {
			if !x.Unique || named(seen, x.Name) {
				continue
			}
			ix, err := newIndex(x, 1, true)
			if err != nil {
				panic(err)
			}
			seen = append(seen, ix)
			t := &tracker{states: map[string]state{}, ix: ix, coll: coll, since: map[string]map[string]clock.Stamp{}}
			t.foldAll(entries, void)
			for key, holders := range t.since {
				if len(holders) < 2 {
					continue
				}
				ids := make([]string, 0, len(holders))
				for id := range holders {
					ids = append(ids, id)
				}
				slices.SortFunc(ids, func(a, b string) int { return holders[a].Compare(holders[b]) })
				line := fmt.Sprintf("%s %s %x:", coll, x.Name, key)
				for _, id := range ids {
					line += fmt.Sprintf(" %x since %v", id, holders[id])
				}
				out = append(out, line)
			}
		}
	}
	slices.Sort(out)
	return out
}

// A tracker folds in order and notes since when documents have the keys of ix.
type tracker struct {
	states map[string]state
	ix     *index
	coll   string
	since  map[string]map[string]clock.Stamp
}

func (t *tracker) definition(coll string) *definition {
	s := t.states[systemCollection+"\x00"+string(value.AppendKey(nil, value.String(coll), false))]
	if s.doc == nil {
		return nil
	}
	def, err := parseDefinition(s.doc)
	if err != nil {
		panic(err)
	}
	return def
}

func (t *tracker) foldAll(entries []Entry, void []clock.LogID) {
	for i := range entries {
		rec := decode(&Arrival{Entry: entries[i]})
		if rec.bad != nil || slices.Contains(void, entries[i].ID.Log) {
			continue
		}
		before := map[string]state{}
		vs := make([]verdict, len(rec.ops))
		refused := false
		for k := range rec.ops {
			op := &rec.ops[k]
			key := op.Coll + "\x00" + string(op.Key)
			if _, ok := before[key]; !ok {
				before[key] = t.states[key]
			}
			var def *definition
			if op.Coll != systemCollection {
				def = t.definition(op.Coll)
			}
			var j judge
			vs[k] = j.decide(op, t.states[key], rec.author(), def)
			t.states[key] = vs[k].next
			refused = refused || vs[k].code != codeOK
		}
		if rec.atomic && refused {
			for key, s := range before {
				t.states[key] = s
			}
			continue
		}
		for k := range rec.ops {
			if op := &rec.ops[k]; vs[k].code == codeOK && op.Coll == t.coll {
				t.note(string(op.Key), vs[k].next.doc, stamp(rec, uint32(k)))
			}
		}
	}
}

// note follows a document to its next state.
func (t *tracker) note(id string, doc []byte, at clock.Stamp) {
	var ks keySet
	ks.fill(t.ix, doc)
	for key, holders := range t.since {
		if _, had := holders[id]; had && !ks.has([]byte(key)) {
			delete(holders, id)
		}
	}
	for _, k := range ks.keys {
		if t.since[string(k)] == nil {
			t.since[string(k)] = map[string]clock.Stamp{}
		}
		if _, had := t.since[string(k)][id]; !had {
			t.since[string(k)][id] = at
		}
	}
}

// DumpConflicts returns db's conflicts as ReferenceConflicts does.
func DumpConflicts(db *DB) ([]string, error) {
	var out []string
	n := int64(0)
	for c, err := range db.Conflicts(context.Background(), "") {
		if err != nil {
			return nil, err
		}
		n++
		v, err := db.acquire()
		if err != nil {
			return nil, err
		}
		var keys []IndexKey
		for _, x := range v.cat.colls[c.Collection].indexes {
			if x.Name == c.Index {
				keys = x.Keys
			}
		}
		v.release()
		var key []byte
		for _, k := range keys {
			e := c.Key.Lookup(k.Path)
			key = value.AppendKey(key, value.Of(e), k.Desc)
		}
		line := fmt.Sprintf("%s %s %x:", c.Collection, c.Index, key)
		for _, h := range append([]KeyHolder{c.Owner}, c.Others...) {
			line += fmt.Sprintf(" %x since %v", value.AppendKey(nil, value.Of(h.ID), false), h.Since)
		}
		if c.Documents != int64(1+len(c.Others)) {
			return nil, fmt.Errorf("%s: %d documents, %d listed", line, c.Documents, 1+len(c.Others))
		}
		out = append(out, line)
	}
	if i := db.Info(); i.Conflicts != n {
		return nil, fmt.Errorf("%d conflicts listed, %d counted", n, i.Conflicts)
	}
	slices.SortFunc(out, cmp.Compare)
	return out, nil
}

// TextScan answers a $text filter by judging every document; _ids are numbers.
func TextScan(db *DB, coll string, filter []byte) (ids []int64, err error) {
	v, err := db.acquire()
	if err != nil {
		return nil, err
	}
	defer v.release()
	f, err := query.Scope{Text: true}.Compile(filter)
	if err != nil {
		return nil, err
	}
	q, err := newTextQuery(v.cat.colls[coll], f.Text())
	if err != nil {
		return nil, err
	}
	cur, err := db.Collection(coll).Find(context.Background(), FindOptions{})
	if err != nil {
		return nil, err
	}
	defer cur.Close()
	for cur.Next() {
		if _, ok := q.match(cur.Raw()); ok {
			ids = append(ids, cur.Raw().Lookup("_id").AsInt64())
		}
	}
	slices.Sort(ids)
	return ids, cur.Err()
}

// SweepNow sweeps as the timer does.
func SweepNow(db *DB) { db.sweepNow() }

// SweepIsDue reports whether a sweep is to come.
func SweepIsDue(db *DB) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.sweeper != nil
}
