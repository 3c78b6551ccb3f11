package db

import (
	"sync/atomic"

	"github.com/weftdb/weft/db/internal/query"
)

// A predicate is what a transaction has searched a collection for. It holds if
// nothing that was committed since the transaction began would change what the
// search sees.
type predicate struct {
	coll   string
	filter *query.Filter // nil for all
	mod    bool          // it reads _mod
}

// matches reports whether the search may see a document; one on which the filter
// fails it may.
func (p *predicate) matches(s *state) bool {
	if s.doc == nil || p.filter == nil {
		return s.doc != nil
	}
	doc := s.doc
	if p.mod {
		doc = withMod(*s)
	}
	ok, err := p.filter.Test(doc)
	return ok || err != nil
}

// maxRecent bounds the changes that are remembered for open transactions; one
// that began before them conflicts.
const maxRecent = 1 << 16

// recentChanges are the documents that commits changed while transactions were
// open. All but open is guarded by DB.mu.
type recentChanges struct {
	open  atomic.Int64 // transactions
	floor uint64       // what was committed up to this generation is not here
	list  []changedDoc
}

type changedDoc struct {
	gen   uint64 // of the commit
	coll  string
	idKey []byte
}

// begin opens a transaction's view: from now on changes are remembered.
func (db *DB) begin() (*view, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.use(); err != nil {
		return nil, err
	}
	if db.view == nil || db.closed {
		return nil, ErrClosed
	}
	db.recentDocs.open.Add(1)
	db.view.refs.Add(1)
	return db.view, nil
}

// end ends what begin began.
func (db *DB) end(v *view) {
	db.mu.Lock()
	r := &db.recentDocs
	if r.open.Add(-1) == 0 {
		r.list = nil
	}
	db.mu.Unlock()
	v.release()
}

// rememberChanges keeps a batch's changes for the open transactions, before the
// batch is published.
func (db *DB) rememberChanges(b *batch) {
	db.mu.Lock()
	defer db.mu.Unlock()
	r := &db.recentDocs
	if b.untracked || len(r.list)+len(b.touched) > maxRecent {
		r.floor, r.list = b.meta.gen, nil
		return
	}
	for _, e := range b.touched {
		r.list = append(r.list, changedDoc{b.meta.gen, e.coll.name, e.idKey})
	}
}

// note keeps what the batch changes for open transactions.
func (b *batch) note(e *entry) {
	if b.db.recentDocs.open.Load() == 0 {
		b.untracked = true // one that opens before the commit is published knows nothing of it
		return
	}
	b.touched = append(b.touched, e)
}

// changedSince returns the keys of the documents of a collection that commits
// after gen changed; false if they are not known any more.
func (db *DB) changedSince(gen uint64, coll string) (keys [][]byte, known bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	r := &db.recentDocs
	if gen < r.floor {
		return nil, false
	}
	for i := len(r.list) - 1; i >= 0 && r.list[i].gen > gen; i-- {
		if r.list[i].coll == coll {
			keys = append(keys, r.list[i].idKey)
		}
	}
	return keys, true
}

// holds reports whether r's searches would find the same now.
func (b *batch) holds(r *request) (bool, error) {
	for i := range r.predicates {
		p := &r.predicates[i]
		keys, known := b.db.changedSince(r.view.gen, p.coll)
		if !known {
			return false, nil
		}
		for _, e := range b.entries { // judged before, in the same group
			if e.spec != nil && e.coll.name == p.coll {
				keys = append(keys, e.idKey)
			}
		}
		for _, k := range keys {
			same, err := b.unseen(r.view, p, k)
			if err != nil || !same {
				return false, err
			}
		}
	}
	return true, nil
}

// unseen reports whether a changed document is no match, before or now.
func (b *batch) unseen(v *view, p *predicate, idKey []byte) (bool, error) {
	e, err := b.entry(p.coll, idKey, valueNone)
	if err != nil {
		return false, err
	}
	if s := e.current(); p.matches(&s) {
		return false, nil
	}
	c := v.cat.colls[p.coll]
	if c == nil {
		return true, nil
	}
	h, err := v.head(b.db, c, idKey)
	return err == nil && !p.matches(&h.state), err
}
