package db

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A Conflict is a key of a unique index that several documents have, because
// their writers did not see each other. It ends when all but one change the
// value or are deleted.
type Conflict struct {
	Collection, Index string
	Key               bson.Raw    // as {email: "a@example.org"}
	Owner             KeyHolder   // the earliest to set its present value
	Others            []KeyHolder // in the order of Since; at most 100
	Documents         int64       // that have the key, the owner included
}

// A KeyHolder is a document that has a key, and the stamp of the operation that
// gave it the key.
type KeyHolder struct {
	ID    bson.RawValue
	Since clock.Stamp
}

// maxOthers bounds the documents that a Conflict names besides its owner.
const maxOthers = 100

// Conflicts walks the conflicts of a collection's unique indexes, of all
// collections if it is "", by collection, index and key. Every replica that
// holds the same records gives the same conflicts with the same owners. An
// index that is still being built gives none yet.
func (db *DB) Conflicts(ctx context.Context, collection string) iter.Seq2[Conflict, error] {
	return func(yield func(Conflict, error) bool) {
		v, err := db.acquire()
		if err != nil {
			yield(Conflict{}, err)
			return
		}
		defer v.release()
		h := &historian{db: db, v: v, records: map[int64]*record{}}
		for _, name := range slices.Sorted(maps.Keys(v.cat.colls)) {
			c := v.cat.colls[name]
			xs := slices.Clone(c.indexes)
			slices.SortFunc(xs, func(a, b *index) int { return cmp.Compare(a.Name, b.Name) })
			for _, x := range xs {
				if !x.Unique || !x.ready || collection != "" && collection != name {
					continue
				}
				if !h.conflicts(ctx, c, x, yield) {
					return
				}
			}
		}
	}
}

// A historian finds out since when documents have what they have.
type historian struct {
	db      *DB
	v       *view
	judge   judge
	records map[int64]*record
	keys    keySet
}

// conflicts yields those of one index, and reports whether to go on.
func (h *historian) conflicts(ctx context.Context, c *coll, x *index, yield func(Conflict, error) bool) bool {
	p := h.db.key(tagConflict, num(x.num))
	it := h.v.snap.Iterate(store.Prefix(p))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		cf, err := h.conflict(ctx, c, x, bytes.Clone(it.Key()[len(p):]))
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

func (h *historian) conflict(ctx context.Context, c *coll, x *index, key []byte) (cf Conflict, err error) {
	cf.Collection, cf.Index = c.name, x.Name
	p := h.db.key(tagIndex, num(x.num), key)
	r := store.Prefix(p)
	r.KeysOnly = true
	it := h.v.snap.Iterate(r)
	defer it.Close()
	var held []KeyHolder
	for ; it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return cf, err
		}
		kh, doc, err := h.holder(c, x, key, bytes.Clone(it.Key()[len(p):]))
		if err != nil {
			return cf, err
		}
		if cf.Documents++; cf.Documents == 1 {
			if cf.Key, err = bson.Marshal(x.valuesOf(doc, key)); err != nil {
				return cf, err
			}
		}
		at, _ := slices.BinarySearchFunc(held, kh, func(a, b KeyHolder) int { return a.Since.Compare(b.Since) })
		if held = slices.Insert(held, at, kh); len(held) > maxOthers+1 {
			held = held[:maxOthers+1]
		}
	}
	if err := it.Err(); err != nil {
		return cf, err
	}
	if len(held) == 0 {
		return cf, errCorrupt
	}
	cf.Owner, cf.Others = held[0], held[1:]
	return cf, nil
}

// holder tells since when the document under idKey has the key.
func (h *historian) holder(c *coll, x *index, key, idKey []byte) (KeyHolder, []byte, error) {
	hd, err := h.v.head(h.db, c, idKey)
	if err != nil {
		return KeyHolder{}, nil, err
	}
	if hd.doc == nil {
		return KeyHolder{}, nil, errCorrupt
	}
	evs, err := h.events(c, idKey, hd)
	if err != nil {
		return KeyHolder{}, nil, err
	}
	has := func(doc []byte) bool {
		h.keys.fill(x, doc)
		return h.keys.has(key)
	}
	// From the last cached state backwards: what happened before a state that
	// lacks the key does not matter.
	for end := len(evs); ; {
		base, from, err := h.base(c, idKey, evs[:end])
		if err != nil {
			return KeyHolder{}, nil, err
		}
		since := -1
		cur, had := base, has(base.doc)
		for i := from; i < end; i++ {
			if evs[i].code != codeOK {
				continue
			}
			rec, err := h.record(evs[i].ref.n)
			if err != nil {
				return KeyHolder{}, nil, err
			}
			cur = h.judge.judge(&rec.ops[evs[i].ref.index], cur, rec.time, nil).next
			now := has(cur.doc)
			if now && !had {
				since = i
			}
			had = now
		}
		if since >= 0 {
			s, err := h.stamp(evs[since].ref)
			return KeyHolder{ID: idOf(hd.doc), Since: s}, hd.doc, err
		}
		if !had || from == 0 {
			return KeyHolder{}, nil, fault.Of(errCorrupt, "an index entry that the document's history does not give")
		}
		end = from
	}
}

func (h *historian) record(n int64) (*record, error) {
	if r := h.records[n]; r != nil {
		return r, nil
	}
	as, err := h.db.journal.Arrivals(n-1, 1)
	if err != nil {
		return nil, err
	}
	if len(as) == 0 || as[0].N != n {
		return nil, errLost
	}
	if len(h.records) >= 64 {
		clear(h.records)
	}
	r := decode(&as[0])
	h.records[n] = r
	return r, nil
}

func (h *historian) stamp(r ref) (clock.Stamp, error) {
	rec, err := h.record(r.n)
	if err != nil {
		return clock.Stamp{}, err
	}
	s := stamp(rec, r.index)
	if rec.snapshot && int(r.index) < len(rec.ops) {
		s.Time = clock.Time(rec.ops[r.index].Mod) // when it got the key was cut off
	}
	return s, nil
}

// events returns the operations of a document in stamp order.
func (h *historian) events(c *coll, idKey []byte, hd head) (evs []event, err error) {
	p := h.db.key(tagHistory, num(c.num), idKey)
	it := h.v.snap.Iterate(store.Prefix(p))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		s := scanner{b: it.Key()[len(p):]}
		r := s.ref()
		v, err := it.Value()
		if err != nil {
			return nil, err
		}
		if s.bad || len(s.b) != 0 || len(v) != 1 {
			return nil, errCorrupt
		}
		evs = append(evs, event{ref: r, code: code(v[0] >> 1)})
	}
	if err := it.Err(); err != nil {
		return nil, err
	}
	evs = append(evs, event{ref: hd.last, code: hd.code})
	slices.SortStableFunc(evs, func(a, b event) int {
		if a.ref.time != b.ref.time {
			return cmp.Compare(a.ref.time, b.ref.time)
		}
		x, xerr := h.stamp(a.ref)
		y, yerr := h.stamp(b.ref)
		err = cmp.Or(err, xerr, yerr)
		return x.Compare(y)
	})
	return evs, err
}

// base returns the last cached state before the end of evs, and how many of
// them it holds.
func (h *historian) base(c *coll, idKey []byte, evs []event) (s state, n int, err error) {
	p := h.db.key(tagBase, num(c.num), idKey)
	it := h.v.snap.Iterate(store.Range{Lower: p, Upper: store.PrefixEnd(p), Reverse: true})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		k := scanner{b: it.Key()[len(p):]}
		r := k.ref()
		at := slices.IndexFunc(evs, func(ev event) bool { return ev.ref == r })
		if at < 0 || at == len(evs)-1 {
			continue
		}
		v, err := it.Value()
		if err != nil {
			return s, 0, err
		}
		b, err := parseHead(bytes.Clone(v))
		return b.state, at + 1, err
	}
	return s, 0, it.Err()
}

func idOf(doc []byte) bson.RawValue { return payload.DocID(doc).Raw() }

// cmdConflicts is {conflicts: collection, skip, limit}: one batch of conflicts,
// of at most 1,000.
func (db *DB) cmdConflicts(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	skip, limit := number(cmd, "skip"), number(cmd, "limit")
	if skip < 0 || limit < 0 {
		return nil, fault.Errorf(fault.BadValue, "skip and limit cannot be negative")
	}
	if limit == 0 || limit > 1000 {
		limit = 1000
	}
	docs := bson.A{}
	for c, err := range db.Conflicts(ctx, name) {
		if err != nil {
			return nil, err
		}
		if skip--; skip >= 0 {
			continue
		}
		docs = append(docs, conflictDoc(&c))
		if int64(len(docs)) == limit {
			break
		}
	}
	return db.oneBatch("$cmd.conflicts", docs), nil
}

func conflictDoc(c *Conflict) bson.D {
	d := bson.D{{Key: "collection", Value: c.Collection}, {Key: "index", Value: c.Index}}
	if c.Documents == 0 {
		return d
	}
	others := bson.A{}
	for _, o := range c.Others {
		others = append(others, holderDoc(o))
	}
	return append(d, bson.E{Key: "key", Value: c.Key}, bson.E{Key: "owner", Value: holderDoc(c.Owner)},
		bson.E{Key: "others", Value: others}, bson.E{Key: "documents", Value: c.Documents})
}

func holderDoc(h KeyHolder) bson.D {
	return bson.D{{Key: "_id", Value: h.ID}, {Key: "since", Value: bson.D{
		{Key: "time", Value: h.Since.Time.Wall()},
		{Key: "stamp", Value: int64(h.Since.Time)},
		{Key: "log", Value: h.Since.Log.String()},
		{Key: "record", Value: h.Since.Hash.String()},
		{Key: "index", Value: int32(h.Since.Index)},
	}}}
}
