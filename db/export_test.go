package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// Reference folds entries from nothing, in memory, in stamp order, and returns
// the state hash and every document and refusal as text: the definition of
// what a database must give.
func Reference(entries []journal.Entry) (clock.Hash, map[string]string) {
	h, out, _ := ReferenceCut(entries, fold.Cut{})
	return h, out
}

// ReferenceCut is Reference with a cut. It also returns the documents as the
// payload of a snapshot.
func ReferenceCut(entries []journal.Entry, c fold.Cut) (clock.Hash, map[string]string, []byte) {
	return ReferenceRights(entries, c, func(clock.RecordID) string { return judge.RoleOwner })
}

// ReferenceRights is ReferenceCut with the roles by which records define.
func ReferenceRights(entries []journal.Entry, c fold.Cut, right func(clock.RecordID) string) (clock.Hash, map[string]string, []byte) {
	entries = slices.Clone(entries)
	for i := range entries {
		if entries[i].Snapshot {
			entries[i].Time = 0
		}
	}
	sortByStamp(entries)
	f := &reference{states: map[string]keyspace.State{}, out: map[string]string{}}
	var recs []*journal.Record
	for i := range entries {
		if !c.Voids(entries[i].ID, entries[i].Snapshot) {
			recs = append(recs, journal.Decode(&journal.Arrival{Entry: entries[i]}))
		}
	}
	referencePlaces(recs, entries, c, right)
	f.laws = newReferenceLaws(recs, entries, c, right)
	for _, rec := range recs {
		f.fold(rec)
	}
	var ops []payload.Op
	for _, k := range slices.Sorted(maps.Keys(f.states)) {
		s := f.states[k]
		coll, idKey, _ := bytes.Cut([]byte(k), []byte{0})
		if s.Doc == nil && !s.Dead {
			continue
		}
		f.hash.Apply([]lthash.Delta{{Seed: keyspace.DocSeed(nil, string(coll), idKey, s.Doc)}})
		f.out[k] = fmt.Sprintf("%x %d %v", s.Doc, s.Mod, s.Dead)
		if s.Doc != nil {
			ops = append(ops, payload.Op{Coll: string(coll), Doc: s.Doc, Mod: uint64(s.Mod), Key: idKey})
		}
	}
	return f.hash.Sum(), f.out, payload.EncodeSnapshot(ops)
}

func sortByStamp(entries []journal.Entry) {
	slices.SortFunc(entries, func(a, b journal.Entry) int {
		return clock.Stamp{Time: a.Time, Log: a.ID.Log, Hash: a.ID.Hash}.Compare(clock.Stamp{Time: b.Time, Log: b.ID.Log, Hash: b.ID.Hash})
	})
}

type reference struct {
	laws   *referenceLaws
	states map[string]keyspace.State
	hash   lthash.State
	out    map[string]string
}

func (f *reference) refuse(s clock.Stamp, c keyspace.Code) {
	f.hash.Apply([]lthash.Delta{{Seed: keyspace.RefusedSeed(s, c)}})
	f.out[fmt.Sprintf("refused %v", s)] = string(c.Reason())
}

func (f *reference) fold(rec *journal.Record) {
	if rec.Bad != nil {
		f.refuse(journal.Stamp(rec, 0), keyspace.CodeMalformed)
		return
	}
	before := map[string]keyspace.State{}
	codes := make([]keyspace.Code, len(rec.Ops))
	refused := false
	for i := range rec.Ops {
		op := &rec.Ops[i]
		k := op.Coll + "\x00" + string(op.Key)
		cur := f.states[k]
		if _, ok := before[k]; !ok {
			before[k] = cur
		}
		v := f.laws.decide(rec, i, cur)
		f.states[k] = v.Next
		codes[i] = v.Code
		refused = refused || v.Code != keyspace.CodeOK
	}
	if rec.Atomic && refused {
		for k, s := range before {
			f.states[k] = s
		}
	}
	for i, c := range codes {
		if rec.Atomic && refused && c == keyspace.CodeOK {
			c = keyspace.CodeAtomic
		}
		if c != keyspace.CodeOK {
			f.refuse(journal.Stamp(rec, uint32(i)), c)
		}
	}
}

// Dump returns every document and refusal of db as Reference does, after
// checking that indexes, counts and hash agree with the documents.
func Dump(db *DB) (map[string]string, error) {
	if err := Built(db); err != nil {
		return nil, err
	}
	v, err := db.fold.Acquire()
	if err != nil {
		return nil, err
	}
	defer v.Release()
	out := map[string]string{}
	var h lthash.State
	for name, c := range v.Cat.Colls {
		n := int64(0)
		want := map[string]bool{}
		holders := map[string]int{}
		p := db.fold.Space.Key(keyspace.TagDoc, keyspace.Num(c.Num))
		it := v.Snap.Iterate(store.Prefix(p))
		for ; it.Valid(); it.Next() {
			val, err := it.Value()
			if err != nil {
				return nil, err
			}
			hd, err := keyspace.ParseHead(val)
			if err != nil {
				return nil, err
			}
			idKey := bytes.Clone(it.Key()[len(p):])
			if hd.Doc == nil && !hd.Dead {
				continue
			}
			h.Apply([]lthash.Delta{{Seed: keyspace.DocSeed(nil, name, idKey, hd.Doc)}})
			out[name+"\x00"+string(idKey)] = fmt.Sprintf("%x %d %v", hd.Doc, hd.Mod, hd.Dead)
			if hd.Doc == nil {
				continue
			}
			n++
			for _, x := range c.Indexes {
				var ks keyspace.KeySet
				if ks.Fill(x, hd.Doc); ks.Wide {
					want[string(db.fold.Space.Key(keyspace.TagWide, keyspace.Num(x.Num), idKey))] = true
				}
				for _, k := range ks.Keys {
					want[string(db.fold.Space.Key(keyspace.TagIndex, keyspace.Num(x.Num), k, idKey))] = true
					if held := string(db.fold.Space.Key(keyspace.TagConflict, keyspace.Num(x.Num), k)); x.Unique {
						holders[held]++
						if holders[held] > 1 {
							want[held] = true
						}
					}
				}
			}
		}
		it.Close()
		if n != v.Stats[c.Num].Docs {
			return nil, fmt.Errorf("collection %s: %d documents, counted %d", name, n, v.Stats[c.Num].Docs)
		}
		if err := checkIndexes(db, v, c, want); err != nil {
			return nil, err
		}
	}
	for r, err := range db.Refused(context.Background(), RefusedOptions{}) {
		if err != nil {
			return nil, err
		}
		if r.Reason == ReasonVoid {
			continue // of no replica's state
		}
		out[fmt.Sprintf("refused %v", r.Stamp)] = string(r.Reason)
		c := slices.Index(keyspace.Reasons[:], r.Reason)
		h.Apply([]lthash.Delta{{Seed: keyspace.RefusedSeed(r.Stamp, keyspace.Code(c))}})
	}
	if h.Sum() != v.StateHash() {
		return nil, errors.New("the stored hash is not that of the documents")
	}
	return out, nil
}

func checkIndexes(db *DB, v *view.View, c *keyspace.Coll, want map[string]bool) error {
	got := 0
	for _, x := range c.Indexes {
		if !x.Filled || x.Shadow {
			return fmt.Errorf("collection %s: index %s is not built", c.Name, x.Name)
		}
		marks := int64(0)
		for _, tag := range []byte{keyspace.TagIndex, keyspace.TagWide, keyspace.TagConflict} {
			it := v.Snap.Iterate(store.Prefix(db.fold.Space.Key(tag, keyspace.Num(x.Num))))
			for ; it.Valid(); it.Next() {
				got++
				if tag == keyspace.TagConflict {
					marks++
				}
				if !want[string(it.Key())] {
					it.Close()
					return fmt.Errorf("collection %s: index %s has a stray entry %x", c.Name, x.Name, it.Key())
				}
			}
			it.Close()
		}
		if n := v.Stats[x.Num].Docs; n != marks {
			return fmt.Errorf("collection %s: index %s has %d conflicts, counted %d", c.Name, x.Name, marks, n)
		}
	}
	if got != len(want) {
		return fmt.Errorf("collection %s: %d index entries, want %d", c.Name, got, len(want))
	}
	return nil
}

// Built waits until no index is being built or deleted.
func Built(db *DB) error {
	return db.fold.Await(context.Background(), func() (bool, error) {
		_, x := db.fold.Cat.Unfilled()
		return x == nil && len(db.fold.Cat.Dropped) == 0, nil
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
func Encode(ops []Op) []byte {
	if len(ops) == 1 && ops[0].Coll == judge.SystemCollection {
		return EncodeView(ops[0], nil)
	}
	return payload.Encode(ops)
}

// EncodeView encodes the record of a definition whose author had the heads of a view.
func EncodeView(op Op, view []clock.RecordID) []byte {
	view = slices.Clone(view)
	slices.SortFunc(view, payload.CompareHeads)
	return payload.EncodeView(&op, slices.Compact(view))
}

// BaseEvery caches states more often, so that short histories use them.
func BaseEvery(db *DB, n uint64) error {
	return db.fold.Submit(&fold.Request{Do: func() error {
		db.fold.BaseEvery = n
		return nil
	}})
}

// SmallPieces has others served more often while late operations are folded.
func SmallPieces(db *DB, work int) error {
	return db.fold.Submit(&fold.Request{Do: func() error {
		db.fold.Piece = work
		return nil
	}})
}

// PacedCuts returns how many cuts were taken in pieces.
func PacedCuts(db *DB) int64 { return db.fold.PacedCuts() }

// HeadsInHistory returns how many documents have the operation that their head names in
// their history too.
func HeadsInHistory(db *DB) (n int, err error) {
	v, err := db.fold.Acquire()
	if err != nil {
		return 0, err
	}
	defer v.Release()
	for _, c := range v.Cat.Colls {
		p := db.fold.Space.Key(keyspace.TagDoc, keyspace.Num(c.Num))
		it := v.Snap.Iterate(store.Prefix(p))
		for ; it.Valid() && err == nil; it.Next() {
			var val []byte
			if val, err = it.Value(); err != nil {
				break
			}
			var hd keyspace.Head
			if hd, err = keyspace.ParseHead(val); err != nil || hd.Count == 0 {
				continue
			}
			k := hd.Last.Append(db.fold.Space.Key(keyspace.TagHistory, keyspace.Num(c.Num), it.Key()[len(p):]))
			if _, gerr := v.Snap.Get(k); gerr == nil {
				n++
			} else if !errors.Is(gerr, store.ErrNotFound) {
				err = gerr
			}
		}
		err = errors.Join(err, it.Err())
		it.Close()
	}
	return n, err
}

// Judged returns how many operations were judged, those judged again included.
func Judged(db *DB) int64 { return db.fold.Judged() }

// SmallGroups bounds the groups that db commits together.
func SmallGroups(db *DB, bytes, ops int) error {
	return db.fold.Submit(&fold.Request{Do: func() error {
		db.fold.BudgetBytes, db.fold.BudgetOps = bytes, ops
		return nil
	}})
}

// History returns how many operations and cached states are kept besides the heads.
func History(db *DB) (n int) {
	snap := db.fold.Store.Snapshot()
	defer snap.Release()
	for _, tag := range []byte{keyspace.TagHistory, keyspace.TagBase} {
		it := snap.Iterate(store.Prefix(db.fold.Space.Key(tag)))
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
