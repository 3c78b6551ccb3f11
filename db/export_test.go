package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// Reference folds entries from nothing, in memory, in stamp order, and returns
// the state hash and every document and refusal as text: the definition of
// what a database must give.
func Reference(entries []Entry, void ...clock.LogID) (clock.Hash, map[string]string) {
	slices.SortFunc(entries, func(a, b Entry) int {
		return clock.Stamp{Time: a.Time, Log: a.ID.Log, Hash: a.ID.Hash}.Compare(clock.Stamp{Time: b.Time, Log: b.ID.Log, Hash: b.ID.Hash})
	})
	c := Cut{Void: map[clock.LogID]uint64{}}
	for _, id := range void {
		c.Void[id] = math.MaxUint64
	}
	h, out, _ := ReferenceCut(entries, c)
	return h, out
}

// ReferenceCut is Reference with a cut. It also returns the documents as the
// payload of a snapshot.
func ReferenceCut(entries []Entry, c Cut) (clock.Hash, map[string]string, []byte) {
	entries = slices.Clone(entries)
	for i := range entries {
		if entries[i].Snapshot {
			entries[i].Time = 0
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return clock.Stamp{Time: a.Time, Log: a.ID.Log, Hash: a.ID.Hash}.Compare(clock.Stamp{Time: b.Time, Log: b.ID.Log, Hash: b.ID.Hash})
	})
	f := &reference{states: map[string]state{}, out: map[string]string{}}
	for i := range entries {
		if !c.voids(entries[i].ID, entries[i].Snapshot) {
			f.fold(decode(&Arrival{Entry: entries[i]}))
		}
	}
	var ops []payload.Op
	for _, k := range slices.Sorted(maps.Keys(f.states)) {
		s := f.states[k]
		coll, idKey, _ := bytes.Cut([]byte(k), []byte{0})
		if s.doc == nil && !s.dead {
			continue
		}
		f.hash.Apply([]lthash.Delta{{Seed: docSeed(nil, string(coll), idKey, s.doc)}})
		f.out[k] = fmt.Sprintf("%x %d %v", s.doc, s.mod, s.dead)
		if s.doc != nil {
			ops = append(ops, payload.Op{Coll: string(coll), Doc: s.doc, Mod: uint64(s.mod), Key: idKey})
		}
	}
	return f.hash.Sum(), f.out, payload.EncodeSnapshot(ops)
}

type reference struct {
	states map[string]state
	hash   lthash.State
	out    map[string]string
}

func (f *reference) refuse(s clock.Stamp, c code) {
	f.hash.Apply([]lthash.Delta{{Seed: refusedSeed(s, c)}})
	f.out[fmt.Sprintf("refused %v", s)] = string(c.reason())
}

func (f *reference) fold(rec *record) {
	if rec.bad != nil {
		f.refuse(stamp(rec, 0), codeMalformed)
		return
	}
	before := map[string]state{}
	codes := make([]code, len(rec.ops))
	refused := false
	for i := range rec.ops {
		op := &rec.ops[i]
		k := op.Coll + "\x00" + string(op.Key)
		cur := f.states[k]
		if _, ok := before[k]; !ok {
			before[k] = cur
		}
		var def *definition
		if op.Coll != systemCollection {
			if s := f.states[systemCollection+"\x00"+string(value.AppendKey(nil, value.String(op.Coll), false))]; s.doc != nil {
				var err error
				if def, err = parseDefinition(s.doc); err != nil {
					panic(err)
				}
			}
		}
		var j judge
		v := j.decide(op, cur, rec.author(), def)
		f.states[k] = v.next
		codes[i] = v.code
		refused = refused || v.code != codeOK
	}
	if rec.atomic && refused {
		for k, s := range before {
			f.states[k] = s
		}
	}
	for i, c := range codes {
		if rec.atomic && refused && c == codeOK {
			c = codeAtomic
		}
		if c != codeOK {
			f.refuse(stamp(rec, uint32(i)), c)
		}
	}
}

// Dump returns every document and refusal of db as Reference does, after
// checking that indexes, counts and hash agree with the documents.
func Dump(db *DB) (map[string]string, error) {
	if err := Built(db); err != nil {
		return nil, err
	}
	v, err := db.acquire()
	if err != nil {
		return nil, err
	}
	defer v.release()
	out := map[string]string{}
	var h lthash.State
	for name, c := range v.cat.colls {
		n := int64(0)
		want := map[string]bool{}
		holders := map[string]int{}
		p := db.key(tagDoc, num(c.num))
		it := v.snap.Iterate(store.Prefix(p))
		for ; it.Valid(); it.Next() {
			val, err := it.Value()
			if err != nil {
				return nil, err
			}
			hd, err := parseHead(val)
			if err != nil {
				return nil, err
			}
			idKey := bytes.Clone(it.Key()[len(p):])
			if hd.doc == nil && !hd.dead {
				continue
			}
			h.Apply([]lthash.Delta{{Seed: docSeed(nil, name, idKey, hd.doc)}})
			out[name+"\x00"+string(idKey)] = fmt.Sprintf("%x %d %v", hd.doc, hd.mod, hd.dead)
			if hd.doc == nil {
				continue
			}
			n++
			for _, x := range c.indexes {
				var ks keySet
				if ks.fill(x, hd.doc); ks.wide {
					want[string(db.key(tagWide, num(x.num), idKey))] = true
				}
				for _, k := range ks.keys {
					want[string(db.key(tagIndex, num(x.num), k, idKey))] = true
					if held := string(db.key(tagConflict, num(x.num), k)); x.Unique {
						holders[held]++
						if holders[held] > 1 {
							want[held] = true
						}
					}
				}
			}
		}
		it.Close()
		if n != v.stats[c.num].docs {
			return nil, fmt.Errorf("collection %s: %d documents, counted %d", name, n, v.stats[c.num].docs)
		}
		if err := checkIndexes(db, v, c, want); err != nil {
			return nil, err
		}
	}
	for r, err := range db.Refused(context.Background(), RefusedOptions{}) {
		if err != nil {
			return nil, err
		}
		out[fmt.Sprintf("refused %v", r.Stamp)] = string(r.Reason)
		c := slices.Index(reasons[:], r.Reason)
		h.Apply([]lthash.Delta{{Seed: refusedSeed(r.Stamp, code(c))}})
	}
	if h.Sum() != v.stateHash() {
		return nil, errors.New("the stored hash is not that of the documents")
	}
	return out, nil
}

func checkIndexes(db *DB, v *view, c *coll, want map[string]bool) error {
	got := 0
	for _, x := range c.indexes {
		if !x.filled || x.shadow {
			return fmt.Errorf("collection %s: index %s is not built", c.name, x.Name)
		}
		marks := int64(0)
		for _, tag := range []byte{tagIndex, tagWide, tagConflict} {
			it := v.snap.Iterate(store.Prefix(db.key(tag, num(x.num))))
			for ; it.Valid(); it.Next() {
				got++
				if tag == tagConflict {
					marks++
				}
				if !want[string(it.Key())] {
					it.Close()
					return fmt.Errorf("collection %s: index %s has a stray entry %x", c.name, x.Name, it.Key())
				}
			}
			it.Close()
		}
		if n := v.stats[x.num].docs; n != marks {
			return fmt.Errorf("collection %s: index %s has %d conflicts, counted %d", c.name, x.Name, marks, n)
		}
	}
	if got != len(want) {
		return fmt.Errorf("collection %s: %d index entries, want %d", c.name, got, len(want))
	}
	return nil
}

// Built waits until no index is being built or deleted.
func Built(db *DB) error {
	return db.await(context.Background(), func() (bool, error) {
		_, x := db.cat.unfilled()
		return x == nil && len(db.cat.dropped) == 0, nil
	})
}

// An Op is an operation for Encode.
type Op = payload.Op

// NewOp builds an operation on _id n of a collection; kind counts from 1.
func NewOp(kind int, coll string, id value.Value, filter, doc []byte, upsert bool) Op {
	if kind == 1 {
		filter = nil
	}
	if kind == 4 {
		doc = nil
	}
	return Op{Kind: payload.Kind(kind), Coll: coll, ID: id, Filter: filter, Doc: doc, Upsert: upsert && (kind == 2 || kind == 3)}
}

// Encode encodes a transaction.
func Encode(ops []Op) []byte { return payload.Encode(ops) }

// BaseEvery caches states more often, so that short histories use them.
func BaseEvery(db *DB, n uint64) error {
	return db.submit(&request{do: func() error {
		db.baseEvery = n
		return nil
	}})
}

// SmallGroups bounds the groups that db commits together.
func SmallGroups(db *DB, bytes, ops int) error {
	return db.submit(&request{do: func() error {
		db.budgetBytes, db.budgetOps = bytes, ops
		return nil
	}})
}

// History returns how many operations and cached states are kept besides the heads.
func History(db *DB) (n int) {
	snap := db.store.Snapshot()
	defer snap.Release()
	for _, tag := range []byte{tagHistory, tagBase} {
		it := snap.Iterate(store.Prefix(db.key(tag)))
		for ; it.Valid(); it.Next() {
			n++
		}
		it.Close()
	}
	return n
}

// Matches reports whether doc matches filter.
func Matches(filter, doc []byte) (bool, error) {
	f, err := query.Compile(filter)
	return err == nil && doc != nil && f.Match(doc), err
}

// KillFeed closes a watch or live query of a command.
func KillFeed(db *DB, id int64) { db.killFeed(id) }
