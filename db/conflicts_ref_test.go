package db

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/search"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
)

// ReferenceConflicts folds entries from nothing, in stamp order, and returns as
// text the conflicts of the unique indexes that are defined in the end: what
// every replica must list.
func ReferenceConflicts(entries []journal.Entry, void fold.Cut) []string {
	entries = slices.Clone(entries)
	sortByStamp(entries)
	end := &tracker{states: map[string]keyspace.State{}}
	end.foldAll(entries, void)
	var out []string
	for _, coll := range []string{"a", "b"} {
		def := end.definition(coll)
		if def == nil {
			continue
		}
		var seen []*keyspace.Index
		for _, x := range def.Indexes {
			if !x.Unique || keyspace.Named(seen, x.Name) {
				continue
			}
			ix, err := keyspace.NewIndex(x, 1, true)
			if err != nil {
				panic(err)
			}
			seen = append(seen, ix)
			t := &tracker{states: map[string]keyspace.State{}, ix: ix, coll: coll, since: map[string]map[string]noted{}}
			t.foldAll(entries, void)
			for key, holders := range t.since {
				if len(holders) < 2 {
					continue
				}
				ids := make([]string, 0, len(holders))
				for id := range holders {
					ids = append(ids, id)
				}
				slices.SortFunc(ids, func(a, b string) int { return cmp.Compare(holders[a].n, holders[b].n) })
				line := fmt.Sprintf("%s %s %x:", coll, x.Name, key)
				for _, id := range ids {
					line += fmt.Sprintf(" %x since %v", id, holders[id].at)
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
	states map[string]keyspace.State
	ix     *keyspace.Index
	coll   string
	since  map[string]map[string]noted
	n      int
}

// A noted is since when a document has a key; what comes later in the fold has a higher n.
type noted struct {
	at clock.Stamp
	n  int
}

func (t *tracker) definition(coll string) *judge.Definition {
	s := t.states[judge.SystemCollection+"\x00"+string(value.AppendKey(nil, value.String(coll), false))]
	if s.Doc == nil {
		return nil
	}
	def, err := judge.ParseDefinition(s.Doc)
	if err != nil {
		panic(err)
	}
	return def
}

func (t *tracker) foldAll(entries []journal.Entry, void fold.Cut) {
	var recs []*journal.Record
	for i := range entries {
		if rec := journal.Decode(&journal.Arrival{Entry: entries[i]}); rec.Bad == nil && !void.Voids(rec.ID, rec.Snapshot) {
			recs = append(recs, rec)
		}
	}
	owners := func(clock.RecordID) string { return judge.RoleOwner }
	referencePlaces(recs, entries, void, owners)
	laws := newReferenceLaws(recs, entries, void, owners)
	for _, rec := range recs {
		before := map[string]keyspace.State{}
		vs := make([]judge.Verdict, len(rec.Ops))
		refused := false
		for k := range rec.Ops {
			op := &rec.Ops[k]
			key := op.Coll + "\x00" + string(op.Key)
			if _, ok := before[key]; !ok {
				before[key] = t.states[key]
			}
			vs[k] = laws.decide(rec, k, t.states[key])
			t.states[key] = vs[k].Next
			refused = refused || vs[k].Code != keyspace.CodeOK
		}
		if rec.Atomic && refused {
			for key, s := range before {
				t.states[key] = s
			}
			continue
		}
		for k := range rec.Ops {
			if op := &rec.Ops[k]; vs[k].Code == keyspace.CodeOK && op.Coll == t.coll {
				t.note(string(op.Key), vs[k].Next.Doc, journal.Stamp(rec, uint32(k)))
			}
		}
	}
}

// note follows a document to its next state.
func (t *tracker) note(id string, doc []byte, at clock.Stamp) {
	var ks keyspace.KeySet
	ks.Fill(t.ix, doc)
	for key, holders := range t.since {
		if _, had := holders[id]; had && !ks.Has([]byte(key)) {
			delete(holders, id)
		}
	}
	for _, k := range ks.Keys {
		if t.since[string(k)] == nil {
			t.since[string(k)] = map[string]noted{}
		}
		if _, had := t.since[string(k)][id]; !had {
			t.n++
			t.since[string(k)][id] = noted{at, t.n}
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
		v, err := db.fold.Acquire()
		if err != nil {
			return nil, err
		}
		var keys []IndexKey
		for _, x := range v.Cat.Colls[c.Collection].Indexes {
			if x.Name == c.Index {
				keys = x.Keys
			}
		}
		v.Release()
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
	v, err := db.fold.Acquire()
	if err != nil {
		return nil, err
	}
	defer v.Release()
	f, err := query.Scope{Text: true}.Compile(filter)
	if err != nil {
		return nil, err
	}
	q, err := search.NewTextQuery(v.Cat.Colls[coll], f.Text())
	if err != nil {
		return nil, err
	}
	cur, err := db.Collection(coll).Find(context.Background(), nil, FindOptions{})
	if err != nil {
		return nil, err
	}
	defer cur.Close()
	for cur.Next() {
		if _, ok := q.Match(cur.Raw()); ok {
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
