package db

import (
	"slices"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
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
	ttl     []*index      // those by which documents expire
	docs    *atomic.Int64 // live documents, as published
}

// An index is a local index; immutable but for multi and done.
type index struct {
	Index
	num    uint32
	paths  []value.Path
	filter *query.Filter // of a partial index
	text   *textAnalyzer // of a text index
	filled bool          // it covers all documents
	ready  bool          // filled, and its definition is in force: queries may use it
	shadow bool          // nothing defines it yet: createUnique is about to
	at     []byte        // the _id's key where filling goes on
	done   *atomic.Int64 // documents that filling has looked at
	multi  *atomic.Bool  // it has held a document with more than one entry
}

// collStats are what the committer knows about a collection; of a unique index
// docs counts its conflicts.
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
	Num    uint32   `bson:"num"`
	Def    bson.Raw `bson:"def"` // as in the definition
	Ready  bool     `bson:"ready"`
	Multi  bool     `bson:"multi"`
	Shadow bool     `bson:"shadow,omitempty"`
	At     []byte   `bson:"at,omitempty"`
	Done   int64    `bson:"done,omitempty"`
}

func newIndex(x Index, n uint32, filled bool) (*index, error) {
	x.State = IndexState{}
	ix := &index{Index: x, num: n, filled: filled, ready: filled, multi: new(atomic.Bool), done: new(atomic.Int64)}
	for _, k := range x.Keys {
		p, err := value.ParsePath(k.Path)
		if err != nil {
			return nil, err
		}
		ix.paths = append(ix.paths, p)
	}
	if x.Partial != nil {
		f, err := query.CompilePartial(x.Partial)
		if err != nil {
			return nil, err
		}
		ix.filter = f
	}
	if x.Keys[0].Text {
		ix.text = newTextAnalyzer(x.Language)
	}
	return ix, nil
}

// with returns a copy of ix that f changed.
func (ix *index) with(f func(*index)) *index {
	n := *ix
	f(&n)
	n.ready = n.filled && !n.shadow
	return &n
}

func (c *catalog) clone() *catalog {
	n := &catalog{colls: make(map[string]*coll, len(c.colls)+1), next: c.next, dropped: slices.Clone(c.dropped)}
	for k, v := range c.colls {
		n.colls[k] = v
	}
	return n
}

// withIndexes returns a copy of c that has other indexes.
func (c *coll) withIndexes(xs []*index) *coll {
	return &coll{num: c.num, name: c.name, docs: c.docs, indexes: xs, ttl: expiring(xs)}
}

// same reports whether x is the definition of ix.
func (ix *index) same(x Index) bool { return ix.Name == x.Name && sameIndex(ix.Index, x) }

func (ix *index) state(v *view, c *coll) IndexState {
	total := v.stats[c.num].docs
	s := IndexState{Building: !ix.filled, Done: min(ix.done.Load(), total), Total: total, Conflicts: v.stats[ix.num].docs}
	if ix.filled {
		s.Done = total
	}
	return s
}

func (c *coll) encode(multi map[*atomic.Bool]bool) ([]byte, error) {
	s := storedColl{Name: c.name}
	for _, x := range c.indexes {
		def, err := bson.Marshal(indexDoc(x.Index))
		if err != nil {
			return nil, err
		}
		s.Indexes = append(s.Indexes, storedIndex{
			Num: x.num, Def: def, Ready: x.filled, Multi: x.multi.Load() || multi[x.multi], Shadow: x.shadow, At: x.at, Done: x.done.Load(),
		})
	}
	return bson.Marshal(s)
}

func decodeColl(n uint32, b []byte) (*coll, error) {
	var s storedColl
	if err := bson.Unmarshal(b, &s); err != nil {
		return nil, fault.Of(errCorrupt, "collection %d is corrupt in the store: %w", n, err)
	}
	c := &coll{num: n, name: s.Name, docs: new(atomic.Int64)}
	for _, x := range s.Indexes {
		def, err := parseIndex(x.Def)
		if err != nil {
			return nil, fault.Of(errCorrupt, "index %d is corrupt in the store: %w", x.Num, err)
		}
		ix, err := newIndex(def, x.Num, x.Ready)
		if err != nil {
			return nil, err
		}
		ix.multi.Store(x.Multi)
		ix.done.Store(x.Done)
		ix.at = x.At
		c.indexes = append(c.indexes, ix.with(func(ix *index) { ix.shadow = x.Shadow }))
	}
	c.ttl = expiring(c.indexes)
	return c, nil
}
