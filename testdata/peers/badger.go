package main

import (
	"bytes"
	"container/heap"
	"encoding/binary"
	"slices"

	"github.com/dgraph-io/badger"
	"github.com/dgraph-io/badger/options"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// raw is badger with keys of our own: t/_id → BSON, t/index/value/_id → nothing.
type raw struct{ db *badger.DB }

func openBadger(dir string) (engine, error) {
	o := badger.DefaultOptions(dir).WithLogger(nil).WithSyncWrites(false).
		WithTableLoadingMode(options.MemoryMap).WithValueLogLoadingMode(options.FileIO)
	db, err := badger.Open(o)
	return &raw{db}, err
}

func (r *raw) name() string { return "badger" }

func (r *raw) close() error { return r.db.Close() }

func (r *raw) insert(docs []doc, indexes int) error {
	t := collectionOf(indexes)
	b := r.db.NewTransaction(true)
	defer b.Discard()
	for _, d := range docs {
		feature, _ := d.bson.Lookup("feature").StringValueOK()
		population := binary.BigEndian.AppendUint64(nil, uint64(d.population))
		values := [][]byte{[]byte(d.country), population, []byte(feature)}
		if err := b.Set([]byte(t+"/d/"+d.id), d.bson); err != nil {
			return err
		}
		for i := range indexes {
			k := append([]byte(t+"/"+string(rune('0'+i))+"/"), values[i]...)
			if err := b.Set(append(append(k, 0), d.id...), nil); err != nil {
				return err
			}
		}
	}
	if err := b.Commit(); err != nil {
		return err
	}
	return r.db.Sync()
}

func (r *raw) get(id string) (ok bool, err error) {
	err = r.db.View(func(tx *badger.Txn) error {
		i, err := tx.Get([]byte("two/d/" + id))
		if err != nil {
			return err
		}
		v, err := i.ValueCopy(nil)
		ok = len(v) > 0
		return err
	})
	return ok, err
}

func (r *raw) byCountry(country string) (n int, err error) {
	prefix := append([]byte("two/0/"+country), 0)
	err = r.db.View(func(tx *badger.Txn) error {
		it := tx.NewIterator(badger.IteratorOptions{Prefix: prefix})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			i, err := tx.Get(append([]byte("two/d/"), it.Item().Key()[len(prefix):]...))
			if err != nil {
				return err
			}
			if _, err := i.ValueCopy(nil); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

// each shows every document.
func (r *raw) each(see func(bson.Raw)) error {
	return r.db.View(func(tx *badger.Txn) error {
		it := tx.NewIterator(badger.IteratorOptions{Prefix: []byte("two/d/"), PrefetchValues: true, PrefetchSize: 100})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if err := it.Item().Value(func(v []byte) error { see(v); return nil }); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *raw) scan() (n int, err error) {
	err = r.each(func(d bson.Raw) {
		feature, _ := d.Lookup("feature").StringValueOK()
		if people, _ := d.Lookup("population").AsInt64OK(); feature == "PPL" && people >= 50_000 {
			n++
		}
	})
	return n, err
}

func (r *raw) top(indexed bool) (ids []string, err error) {
	if !indexed {
		var h names
		err = r.each(func(d bson.Raw) {
			name, _ := d.Lookup("name").StringValueOK()
			if len(h) == 20 && name >= h[0].name {
				return
			}
			heap.Push(&h, named{name, d.Lookup("_id").StringValue()})
			if len(h) > 20 {
				heap.Pop(&h)
			}
		})
		for _, n := range h {
			ids = append(ids, n.id)
		}
		return ids, err
	}
	err = r.db.View(func(tx *badger.Txn) error {
		prefix := []byte("two/1/")
		it := tx.NewIterator(badger.IteratorOptions{Reverse: true})
		defer it.Close()
		for it.Seek(append(slices.Clone(prefix), 0xff)); it.ValidForPrefix(prefix) && len(ids) < 20; it.Next() {
			id := it.Item().Key()[len(prefix)+9:]
			i, err := tx.Get(append([]byte("two/d/"), id...))
			if err != nil {
				return err
			}
			if _, err := i.ValueCopy(nil); err != nil {
				return err
			}
			ids = append(ids, string(bytes.Clone(id)))
		}
		return nil
	})
	return ids, err
}

func (r *raw) group() (groups int, sum int64, err error) {
	type total struct{ n, people int64 }
	totals := map[string]*total{}
	err = r.each(func(d bson.Raw) {
		country, _ := d.Lookup("country").StringValueOK()
		people, _ := d.Lookup("population").AsInt64OK()
		t := totals[country]
		if t == nil {
			t = &total{}
			totals[country] = t
		}
		t.n, t.people = t.n+1, t.people+people
	})
	for _, t := range totals {
		sum += t.people
	}
	return len(totals), sum, err
}

type named struct{ name, id string }

// names is a heap with the last name on top.
type names []named

func (h names) Len() int           { return len(h) }
func (h names) Less(i, j int) bool { return h[i].name > h[j].name }
func (h names) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *names) Push(x any)        { *h = append(*h, x.(named)) }
func (h *names) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
