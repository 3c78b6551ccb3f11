package keyspace

import (
	"slices"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A Catalog maps names to local numbers. It is immutable once published: who changes
// it clones it first, and the clone takes its place when the transaction is committed.
//
//	c 0      next 7, dropped 4 5
//	c 3      {name: "cities", indexes: [{num: 6, def: {name: "country_1", …}, ready: true}]}
type Catalog struct {
	Colls   map[string]*Coll // by name
	Next    uint32           // the next number, of a collection or an index
	Dropped []uint32         // indexes whose entries wait to be deleted
}

// A Coll is a collection by its local number; immutable but for its stats.
type Coll struct {
	Num     uint32
	Name    string
	Indexes []*Index
	TTL     []*Index      // those by which documents expire
	Docs    *atomic.Int64 // live documents, as published
}

// An Index is a local index; immutable but for Multi and Done, which all copies of it
// share, so that a plan made under an older catalogue learns of the first array, too.
type Index struct {
	IndexDef
	Num    uint32
	paths  []value.Path
	Filter *query.Filter // of a partial index
	Text   *textAnalyzer // of a text index
	Filled bool          // it covers all documents
	Ready  bool          // filled, and its definition is in force: queries may use it
	Shadow bool          // nothing defines it yet: CreateUnique is about to
	At     []byte        // the _id's key where filling goes on
	Done   *atomic.Int64 // documents that filling has looked at
	Multi  *atomic.Bool  // it has held a document with more than one entry
}

// CollStats are what the committer knows about a collection; of a unique index
// Docs counts its conflicts.
type CollStats struct {
	Docs    int64
	MaxTime clock.Time // of all operations on its documents
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

// NewIndex compiles the index that x defines, under the local number n. One that is not
// filled is written by every commit from now on, and read only when it covers all
// documents.
func NewIndex(x IndexDef, n uint32, filled bool) (*Index, error) {
	x.State = IndexState{}
	ix := &Index{IndexDef: x, Num: n, Filled: filled, Ready: filled, Multi: new(atomic.Bool), Done: new(atomic.Int64)}
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
		ix.Filter = f
	}
	if x.Keys[0].Text {
		ix.Text = newTextAnalyzer(x.Language)
	}
	return ix, nil
}

// With returns a copy of ix that f changed.
func (ix *Index) With(f func(*Index)) *Index {
	n := *ix
	f(&n)
	n.Ready = n.Filled && !n.Shadow
	return &n
}

// Clone returns a copy that may be changed; collections and indexes are shared.
func (c *Catalog) Clone() *Catalog {
	n := &Catalog{Colls: make(map[string]*Coll, len(c.Colls)+1), Next: c.Next, Dropped: slices.Clone(c.Dropped)}
	for k, v := range c.Colls {
		n.Colls[k] = v
	}
	return n
}

// WithIndexes returns a copy of c that has other indexes.
func (c *Coll) WithIndexes(xs []*Index) *Coll {
	return &Coll{Num: c.Num, Name: c.Name, Docs: c.Docs, Indexes: xs, TTL: expiring(xs)}
}

// same reports whether x is the definition of ix.
func (ix *Index) same(x IndexDef) bool { return ix.Name == x.Name && SameIndex(ix.IndexDef, x) }

// Progress says how far the index of c is, by the counts of a view.
func (ix *Index) Progress(stats map[uint32]CollStats, c *Coll) IndexState {
	total := stats[c.Num].Docs
	s := IndexState{Building: !ix.Filled, Done: min(ix.Done.Load(), total), Total: total, Conflicts: stats[ix.Num].Docs}
	if ix.Filled {
		s.Done = total
	}
	return s
}

func (c *Coll) encode(multi map[*atomic.Bool]bool) ([]byte, error) {
	s := storedColl{Name: c.Name}
	for _, x := range c.Indexes {
		def, err := bson.Marshal(IndexDoc(x.IndexDef))
		if err != nil {
			return nil, err
		}
		s.Indexes = append(s.Indexes, storedIndex{
			Num: x.Num, Def: def, Ready: x.Filled, Multi: x.Multi.Load() || multi[x.Multi], Shadow: x.Shadow, At: x.At, Done: x.Done.Load(),
		})
	}
	return bson.Marshal(s)
}

func decodeColl(n uint32, b []byte) (*Coll, error) {
	var s storedColl
	if err := bson.Unmarshal(b, &s); err != nil {
		return nil, fault.Of(ErrCorrupt, "collection %d is corrupt in the store: %w", n, err)
	}
	c := &Coll{Num: n, Name: s.Name, Docs: new(atomic.Int64)}
	for _, x := range s.Indexes {
		def, err := ParseIndex(x.Def)
		if err != nil {
			return nil, fault.Of(ErrCorrupt, "index %d is corrupt in the store: %w", x.Num, err)
		}
		ix, err := NewIndex(def, x.Num, x.Ready)
		if err != nil {
			return nil, err
		}
		ix.Multi.Store(x.Multi)
		ix.Done.Store(x.Done)
		ix.At = x.At
		c.Indexes = append(c.Indexes, ix.With(func(ix *Index) { ix.Shadow = x.Shadow }))
	}
	c.TTL = expiring(c.Indexes)
	return c, nil
}

// Save writes the collections whose numbers are in changed into tx; multi are the
// indexes that meet their first array.
func (c *Catalog) Save(tx store.Tx, sp Space, changed map[uint32]bool, multi map[*atomic.Bool]bool) error {
	if len(changed) == 0 {
		return nil
	}
	for _, x := range c.Colls {
		if !changed[x.Num] {
			continue
		}
		v, err := x.encode(multi)
		if err != nil {
			return err
		}
		if err := tx.Put(sp.Key(tagCollection, Num(x.Num)), v); err != nil {
			return err
		}
	}
	rest := Uvarints(nil, uint64(c.Next))
	for _, n := range c.Dropped {
		rest = Uvarints(rest, uint64(n))
	}
	return tx.Put(sp.Key(tagCollection, Num(0)), rest)
}

// LoadCatalog reads the catalogue; an empty one if the database is new.
func LoadCatalog(r store.Reader, sp Space) (*Catalog, error) {
	cat := &Catalog{Colls: map[string]*Coll{}}
	p := sp.Key(tagCollection)
	it := r.Iterate(store.Prefix(p))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		k := Scanner{B: it.Key()[len(p):]}
		n := uint32(k.Uvarint())
		v, err := it.Value()
		if err != nil {
			return nil, err
		}
		if n == 0 {
			s := Scanner{B: v}
			for cat.Next = uint32(s.Uvarint()); len(s.B) > 0 && !s.Bad; {
				cat.Dropped = append(cat.Dropped, uint32(s.Uvarint()))
			}
			continue
		}
		c, err := decodeColl(n, v)
		if err != nil {
			return nil, err
		}
		cat.Colls[c.Name] = c
	}
	return cat, it.Err()
}

// Unfilled returns the index that is to be filled next, the oldest.
func (c *Catalog) Unfilled() (name string, first *Index) {
	for n, coll := range c.Colls {
		for _, x := range coll.Indexes {
			if !x.Filled && (first == nil || x.Num < first.Num) {
				name, first = n, x
			}
		}
	}
	return name, first
}

// IndexOf returns the index of that number, or nil.
func (c *Catalog) IndexOf(coll string, n uint32) *Index {
	if c.Colls[coll] == nil {
		return nil
	}
	for _, x := range c.Colls[coll].Indexes {
		if x.Num == n {
			return x
		}
	}
	return nil
}

// CollOf returns the collection of an index; "" if there is none.
func (c *Catalog) CollOf(index uint32) string {
	for name, coll := range c.Colls {
		for _, x := range coll.Indexes {
			if x.Num == index {
				return name
			}
		}
	}
	return ""
}

// FindIndex returns the index that x defines, name and options alike; nil if there is
// none.
func FindIndex(list []*Index, x IndexDef) *Index {
	for _, ix := range list {
		if ix.same(x) {
			return ix
		}
	}
	return nil
}

// FindEntries returns the index that differs from x in its expiry alone.
func FindEntries(list []*Index, x IndexDef) *Index {
	x.ExpireAfter = nil
	for _, ix := range list {
		had := ix.IndexDef
		if had.ExpireAfter = nil; !ix.Shadow && SameIndex(had, x) {
			return ix
		}
	}
	return nil
}

// Named reports whether an index of the list has the name.
func Named(list []*Index, name string) bool {
	for _, ix := range list {
		if ix.Name == name {
			return true
		}
	}
	return false
}

// TextIndex returns the collection's text index.
func (c *Coll) TextIndex() (*Index, error) {
	if c != nil {
		for _, x := range c.Indexes {
			if x.Text == nil || x.Filter != nil {
				continue
			}
			if !x.Ready {
				return nil, fault.Errorf(fault.IndexNotFound, "the text index %s is still being built", x.Name)
			}
			return x, nil
		}
	}
	return nil, fault.Errorf(fault.IndexNotFound, "text index required for $text query")
}
