package past

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A historian finds out since when documents have what they have: by folding a history
// again, with the standing verdicts, and watching for the key. It is exact, unlike a Past,
// because it tells what the order says and not what readers saw.
type historian struct {
	journal journal.Journal
	v       *view.View
	judge   judge.Judge
	records map[int64]*journal.Record
	keys    keyspace.KeySet
}

// conflictAt describes the conflict over one key: the first who got the key, in stamp
// order, is its owner on every replica.
func (h *historian) conflictAt(ctx context.Context, c *keyspace.Coll, x *keyspace.Index, key []byte) (cf Conflict, err error) {
	cf.Collection, cf.Index = c.Name, x.Name
	p := h.v.Space.Key(keyspace.TagIndex, keyspace.Num(x.Num), key)
	r := store.Prefix(p)
	r.KeysOnly = true
	it := h.v.Snap.Iterate(r)
	defer it.Close()
	var held []since
	for ; it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return cf, err
		}
		kh, doc, err := h.holder(c, x, key, bytes.Clone(it.Key()[len(p):]))
		if err != nil {
			return cf, err
		}
		if cf.Documents++; cf.Documents == 1 {
			if cf.Key, err = bson.Marshal(x.ValuesOf(doc, key)); err != nil {
				return cf, err
			}
		}
		// An index may have the key for any number of documents: the first are kept.
		at, _ := slices.BinarySearchFunc(held, kh, since.compare)
		if held = slices.Insert(held, at, kh); len(held) > maxOthers+1 {
			held = held[:maxOthers+1]
		}
	}
	if err := it.Err(); err != nil {
		return cf, err
	}
	if len(held) == 0 {
		return cf, keyspace.ErrCorrupt
	}
	cf.Owner = held[0].keyHolder
	for _, o := range held[1:] {
		cf.Others = append(cf.Others, o.keyHolder)
	}
	return cf, nil
}

// holder tells since when the document under idKey has the key.
func (h *historian) holder(c *keyspace.Coll, x *keyspace.Index, key, idKey []byte) (since, []byte, error) {
	hd, err := h.v.Head(c, idKey)
	if err != nil {
		return since{}, nil, err
	}
	if hd.Doc == nil {
		return since{}, nil, keyspace.ErrCorrupt
	}
	evs, err := h.events(c, idKey, hd)
	if err != nil {
		return since{}, nil, err
	}
	has := func(doc []byte) bool {
		h.keys.Fill(x, doc)
		return h.keys.Has(key)
	}
	// From the last cached state backwards: what happened before a state that
	// lacks the key does not matter.
	for end := len(evs); ; {
		base, from, err := h.base(c, idKey, evs[:end])
		if err != nil {
			return since{}, nil, err
		}
		got := -1
		cur, had := base, has(base.Doc)
		for i := from; i < end; i++ {
			if evs[i].Code != keyspace.CodeOK {
				continue
			}
			rec, err := h.record(evs[i].Ref.N)
			if err != nil {
				return since{}, nil, err
			}
			cur = h.judge.Judge(&rec.Ops[evs[i].Ref.Index], cur, evs[i].Ref.Time, nil).Next
			now := has(cur.Doc)
			if now && !had {
				got = i
			}
			had = now
		}
		if got >= 0 {
			s, at, err := h.stamp(evs[got].Ref)
			return since{keyHolder{ID: idOf(hd.Doc), Since: s}, at}, hd.Doc, err
		}
		if !had || from == 0 {
			return since{}, nil, fault.Of(keyspace.ErrCorrupt, "an index entry that the document's history does not give")
		}
		end = from
	}
}

// record returns the record that arrived as number n. Those of a conflict are read to fold
// documents and again for their stamps, so the last of them are kept, at most 64.
func (h *historian) record(n int64) (*journal.Record, error) {
	if r := h.records[n]; r != nil {
		return r, nil
	}
	r, err := journal.Read(h.journal, n)
	if err != nil {
		return nil, err
	}
	if len(h.records) >= 64 {
		clear(h.records)
	}
	h.records[n] = r
	return r, nil
}

// stamp gives the stamp of a ref, and its record's clock.
func (h *historian) stamp(r keyspace.Ref) (s clock.Stamp, at clock.Time, err error) {
	rec, err := h.record(r.N)
	if err != nil {
		return s, 0, err
	}
	s = journal.StampAt(rec, r)
	// Documents of a snapshot come at time 0; people want to know when.
	if rec.Snapshot && int(r.Index) < len(rec.Ops) {
		s.Time = clock.Time(rec.Ops[r.Index].Mod) // when it got the key was cut off
	}
	return s, rec.Clock, nil
}

// events returns the operations of a document in stamp order. Most operations differ in
// time, so that stamps, which need the record, are read for those only that do not.
func (h *historian) events(c *keyspace.Coll, idKey []byte, hd keyspace.Head) (evs []fold.Event, err error) {
	evs, whole, err := history(h.v, c, idKey, hd)
	if err != nil || !whole {
		return nil, cmp.Or(err, keyspace.ErrCorrupt)
	}
	slices.SortStableFunc(evs, func(a, b fold.Event) int {
		if a.Ref.Time != b.Ref.Time {
			return cmp.Compare(a.Ref.Time, b.Ref.Time)
		}
		x, xat, xerr := h.stamp(a.Ref)
		y, yat, yerr := h.stamp(b.Ref)
		err = cmp.Or(err, xerr, yerr)
		return cmp.Or(cmp.Compare(xat, yat), x.Compare(y))
	})
	return evs, err
}

// base returns the last cached state before the end of evs, and how many of them it holds.
// The last event itself is not looked for, so that there is at least one operation to fold:
// whether the document got the key by that one is the question.
func (h *historian) base(c *keyspace.Coll, idKey []byte, evs []fold.Event) (s keyspace.State, n int, err error) {
	p := h.v.Space.Key(keyspace.TagBase, keyspace.Num(c.Num), idKey)
	it := h.v.Snap.Iterate(store.Range{Lower: p, Upper: store.PrefixEnd(p), Reverse: true})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		k := keyspace.Scanner{B: it.Key()[len(p):]}
		r := k.Ref()
		at := slices.IndexFunc(evs, func(ev fold.Event) bool { return ev.Ref == r })
		if at < 0 || at == len(evs)-1 {
			continue
		}
		v, err := it.Value()
		if err != nil {
			return s, 0, err
		}
		b, err := keyspace.ParseHead(bytes.Clone(v))
		return b.State, at + 1, err
	}
	return s, 0, it.Err()
}

func idOf(doc []byte) bson.RawValue { return payload.DocID(doc).Raw() }

// A Conflict is a key of a unique index that several documents have.
type Conflict struct {
	Collection, Index string      // names
	Key               bson.Raw    // {path: value, …}
	Owner             keyHolder   // who has had it longest
	Others            []keyHolder // in the order in which they got it, at most 100
	Documents         int64       // that have it, the owner included
}

// A keyHolder is a document that has a key, and the stamp of the operation that
// gave it the key.
type keyHolder struct {
	ID    bson.RawValue
	Since clock.Stamp
}

// A since is a keyHolder and the clock of that record: of what stands at one time the earlier
// is first.
type since struct {
	keyHolder
	clock clock.Time
}

func (a since) compare(b since) int {
	return cmp.Or(cmp.Compare(a.Since.Time, b.Since.Time), cmp.Compare(a.clock, b.clock), a.Since.Compare(b.Since))
}

// maxOthers bounds the documents that a conflict names besides its owner.
const maxOthers = 100

// NewHistorian returns a historian of what v shows.
func NewHistorian(j journal.Journal, v *view.View) *historian {
	return &historian{journal: j, v: v, records: map[int64]*journal.Record{}}
}

// conflicts yields those of one index, and reports whether to go on.
func (h *historian) conflicts(ctx context.Context, c *keyspace.Coll, x *keyspace.Index, yield func(Conflict, error) bool) bool {
	p := h.v.Space.Key(keyspace.TagConflict, keyspace.Num(x.Num))
	it := h.v.Snap.Iterate(store.Prefix(p))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		cf, err := h.conflictAt(ctx, c, x, bytes.Clone(it.Key()[len(p):]))
		if !yield(cf, err) || err != nil {
			return false
		}
	}
	if err := it.Err(); err != nil {
		yield(Conflict{}, err)
		return false
	}
	return true
}

// All walks the conflicts of a collection's unique indexes, of all collections if
// it is "", by collection, index and key.
func (h *historian) All(ctx context.Context, collection string) iter.Seq2[Conflict, error] {
	return func(yield func(Conflict, error) bool) {
		for _, name := range slices.Sorted(maps.Keys(h.v.Cat.Colls)) {
			c := h.v.Cat.Colls[name]
			xs := slices.Clone(c.Indexes)
			slices.SortFunc(xs, func(a, b *keyspace.Index) int { return cmp.Compare(a.Name, b.Name) })
			for _, x := range xs {
				if !x.Unique || !x.Ready || collection != "" && collection != name {
					continue
				}
				if !h.conflicts(ctx, c, x, yield) {
					return
				}
			}
		}
	}
}
