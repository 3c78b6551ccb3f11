package db

import (
	"fmt"
	"slices"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
)

// A catalog maps names to local numbers. It is immutable once published.
type catalog struct {
	colls   map[string]*coll
	next    uint32 // the next number, of a collection or an index
	dropped []uint32
}

// A coll is a collection by its local number; immutable but for its stats.
type coll struct {
	num     uint32
	name    string
	indexes []*index
	docs    *atomic.Int64 // live documents, as published
}

// An index is a local index; immutable but for multi.
type index struct {
	Index
	num   uint32
	paths []value.Path
	ready bool         // it covers all documents
	multi *atomic.Bool // it has held a document with more than one entry
}

// collStats are what the committer knows about a collection.
type collStats struct {
	docs    int64
	maxTime clock.Time // of all operations on its documents
}

// The stored form of a collection.
type storedColl struct {
	Name    string        `bson:"name"`
	Indexes []storedIndex `bson:"indexes,omitempty"`
	Dropped []uint32      `bson:"dropped,omitempty"`
}

type storedIndex struct {
	Num   uint32     `bson:"num"`
	Name  string     `bson:"name"`
	Keys  []IndexKey `bson:"keys"`
	Ready bool       `bson:"ready"`
	Multi bool       `bson:"multi"`
}

func newIndex(x Index, n uint32, ready bool) (*index, error) {
	ix := &index{Index: x, num: n, ready: ready, multi: new(atomic.Bool)}
	for _, k := range x.Keys {
		p, err := value.ParsePath(k.Path)
		if err != nil {
			return nil, err
		}
		ix.paths = append(ix.paths, p)
	}
	return ix, nil
}

func (c *catalog) clone() *catalog {
	n := &catalog{colls: make(map[string]*coll, len(c.colls)+1), next: c.next, dropped: slices.Clone(c.dropped)}
	for k, v := range c.colls {
		n.colls[k] = v
	}
	return n
}

// same reports whether x is the definition of ix.
func (ix *index) same(x Index) bool { return ix.Name == x.Name && slices.Equal(ix.Keys, x.Keys) }

func (c *coll) encode(multi map[*index]bool) ([]byte, error) {
	s := storedColl{Name: c.name}
	for _, x := range c.indexes {
		s.Indexes = append(s.Indexes, storedIndex{x.num, x.Name, x.Keys, x.ready, x.multi.Load() || multi[x]})
	}
	return bson.Marshal(s)
}

func decodeColl(n uint32, b []byte) (*coll, error) {
	var s storedColl
	if err := bson.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%w: collection %d: %w", errCorrupt, n, err)
	}
	c := &coll{num: n, name: s.Name, docs: new(atomic.Int64)}
	for _, x := range s.Indexes {
		ix, err := newIndex(Index{Name: x.Name, Keys: x.Keys}, x.Num, x.Ready)
		if err != nil {
			return nil, err
		}
		ix.multi.Store(x.Multi)
		c.indexes = append(c.indexes, ix)
	}
	return c, nil
}

const (
	// A document with more or longer entries in an index is kept aside and
	// looked at by every search of the index.
	maxEntries  = 256
	maxEntryKey = 1024
)

// entries returns the index keys of doc, or wide if there are too many.
func (ix *index) entries(doc []byte) (keys [][]byte, multi, wide bool) {
	keys = [][]byte{nil}
	var vals []value.Value
	for i, p := range ix.paths {
		var m bool
		vals, m = p.IndexValues(vals[:0], doc)
		multi = multi || m
		if len(keys)*len(vals) > maxEntries {
			return nil, true, true
		}
		next := make([][]byte, 0, len(keys)*len(vals))
		for _, k := range keys {
			for _, v := range vals {
				if len(v.Data) > maxEntryKey {
					return nil, true, true
				}
				nk := value.AppendKey(append(make([]byte, 0, len(k)+len(v.Data)+16), k...), v, ix.Keys[i].Desc)
				if len(nk) > maxEntryKey {
					return nil, true, true
				}
				next = append(next, nk)
			}
		}
		keys = next
	}
	if len(keys) > 1 {
		slices.SortFunc(keys, slices.Compare)
		keys = slices.CompactFunc(keys, slices.Equal)
	}
	return keys, multi, false
}
