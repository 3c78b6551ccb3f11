// Package recent remembers which documents commits changed while transactions were open, so
// that one that searched a collection conflicts with what would change what it has found.
package recent

import (
	"sync/atomic"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/query"
)

// A Predicate is what a transaction has searched a collection for. It holds if
// nothing that was committed since the transaction began would change what the
// search sees: that is what makes transactions serializable and not only free of lost
// updates. A transaction that counted the free seats conflicts with one that took a seat,
// though they wrote different documents.
type Predicate struct {
	Coll   string
	Filter *query.Filter // nil for all
	Mod    bool          // it reads _mod
}

// Matches reports whether the search may see a document; one on which the filter
// fails it may.
func (p *Predicate) Matches(s *keyspace.State) bool {
	if s.Doc == nil || p.Filter == nil {
		return s.Doc != nil
	}
	doc := s.Doc
	if p.Mod {
		doc = keyspace.WithMod(*s)
	}
	ok, err := p.Filter.Test(doc)
	return ok || err != nil
}

// maxKept bounds the changes that are remembered for open transactions; one
// that began before them conflicts.
const maxKept = 1 << 16

// Changes are the documents that commits changed while transactions were open. All but Open
// is guarded by its owner's lock.
type Changes struct {
	Open  atomic.Int64 // transactions
	floor uint64       // what was committed up to this generation is not here
	list  []doc
}

// A doc is one of them.
type doc struct {
	gen   uint64 // of the commit
	coll  string
	idKey []byte
}

// End ends a transaction.
func (c *Changes) End() {
	if c.Open.Add(-1) == 0 {
		c.list = nil
	}
}

// Forget notes that it is not known what a commit changed: every transaction that is open
// conflicts, if it searched. Too much is refused and nothing wrong is written.
func (c *Changes) Forget(gen uint64) { c.floor, c.list = gen, nil }

// Fits reports whether so many more can be kept.
func (c *Changes) Fits(n int) bool { return len(c.list)+n <= maxKept }

// Add keeps a document that a commit changed.
func (c *Changes) Add(gen uint64, coll string, idKey []byte) {
	c.list = append(c.list, doc{gen, coll, idKey})
}

// Since returns the keys of the documents of a collection that commits after gen changed;
// false if they are not known any more.
func (c *Changes) Since(gen uint64, coll string) (keys [][]byte, known bool) {
	if gen < c.floor {
		return nil, false
	}
	for i := len(c.list) - 1; i >= 0 && c.list[i].gen > gen; i-- {
		if c.list[i].coll == coll {
			keys = append(keys, c.list[i].idKey)
		}
	}
	return keys, true
}
