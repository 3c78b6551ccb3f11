package db_test

import (
	"bytes"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
)

// A lossy store gives keys without an error as if some were not there: what an engine does
// that does not check what it reads.
type lossy struct {
	store.Store
	gone []byte // what keys have that are left out; nil for nothing
}

type lossySnapshot struct {
	store.Snapshot
	s *lossy
}

type lossyIterator struct {
	store.Iterator
	s *lossy
}

func (s *lossy) Snapshot() store.Snapshot { return lossySnapshot{s.Store.Snapshot(), s} }

func (s lossySnapshot) Iterate(r store.Range) store.Iterator {
	it := &lossyIterator{s.Snapshot.Iterate(r), s.s}
	it.skip()
	return it
}

func (it *lossyIterator) skip() {
	for it.s.gone != nil && it.Valid() && bytes.Contains(it.Key(), it.s.gone) {
		it.Iterator.Next()
	}
}

func (it *lossyIterator) Next()           { it.Iterator.Next(); it.skip() }
func (it *lossyIterator) Seek(key []byte) { it.Iterator.Seek(key); it.skip() }

// A walk over all documents that misses one is damage, however it is asked for; a search
// that ends before is none.
func TestMissingDocumentsAreDamage(t *testing.T) {
	ctx := t.Context()
	mem, err := engines.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	s := &lossy{Store: mem}
	j, err := dbtest.NewJournal(s, "J/", "local")
	if err != nil {
		t.Fatal(err)
	}
	x, err := replica.Open(ctx, replica.Options{Store: s, Prefix: []byte("D/"), Journal: j})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	c := x.Collection("c")
	docs := make([]bson.Raw, 10_000) // several parts
	for i := range docs {
		docs[i] = raw(t, d("_id", "key "+string(rune('a'+i%26))+string(rune(0x4e00+i)), "n", int32(i)))
	}
	if _, _, err := c.InsertMany(ctx, docs, db.InsertOptions{}); err != nil {
		t.Fatal(err)
	}
	find := func(filter any, o db.FindOptions) (n int, err error) {
		cur, err := c.Find(ctx, filter, o)
		if err != nil {
			return 0, err
		}
		defer cur.Close()
		for cur.Next() {
			n++
		}
		return n, cur.Err()
	}
	all := map[string]func() error{
		"find":         func() error { _, err := find(nil, db.FindOptions{}); return err },
		"a filter":     func() error { _, err := find(raw(t, d("n", d("$gte", int32(5)))), db.FindOptions{}); return err },
		"a sort":       func() error { _, err := find(nil, db.FindOptions{Sort: raw(t, d("n", -1))}); return err },
		"a descending": func() error { _, err := find(nil, db.FindOptions{Sort: raw(t, d("_id", -1))}); return err },
		"a count": func() error {
			_, err := c.Count(ctx, raw(t, d("n", d("$gte", int32(5)))))
			return err
		},
		"an export": func() error {
			snap, err := x.Snapshot()
			if err != nil {
				return err
			}
			defer snap.Close()
			for _, err := range snap.Documents(ctx, "c") {
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	for name, f := range all {
		if err := f(); err != nil {
			t.Errorf("%s of what is whole: %v", name, err)
		}
	}
	s.gone = []byte(string(rune(0x4e00 + 7777)))
	for name, f := range all {
		if err := f(); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s of what lacks a document: %v", name, err)
		}
	}
	if n, err := find(nil, db.FindOptions{Limit: 3}); n != 3 || err != nil {
		t.Errorf("three documents: got %d, %v", n, err)
	}
}
