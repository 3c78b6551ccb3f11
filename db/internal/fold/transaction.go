package fold

import (
	"sync/atomic"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/view"
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

// matches reports whether the search may see a document; one on which the filter
// fails it may.
func (p *Predicate) matches(s *keyspace.State) bool {
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

// maxRecent bounds the changes that are remembered for open transactions; one
// that began before them conflicts.
const maxRecent = 1 << 16

// recentChanges are the documents that commits changed while transactions were
// open. All but open is guarded by the fold's mu.
type recentChanges struct {
	open  atomic.Int64 // transactions
	floor uint64       // what was committed up to this generation is not here
	list  []changedDoc
}

// A changedDoc is one of them.
type changedDoc struct {
	gen   uint64 // of the commit
	coll  string
	idKey []byte
}

// Begin opens a transaction's view: from now on changes are remembered. Both under one
// lock, so that no commit is between the view and what is remembered.
func (f *Fold) Begin() (*view.View, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, err := f.latest()
	if err == nil {
		f.recentDocs.open.Add(1)
	}
	return v, err
}

// End ends what Begin began.
func (f *Fold) End(v *view.View) {
	f.mu.Lock()
	r := &f.recentDocs
	if r.open.Add(-1) == 0 {
		r.list = nil
	}
	f.mu.Unlock()
	v.Release()
}

// rememberChanges keeps a batch's changes for the open transactions, before the
// batch is published.
func (f *Fold) rememberChanges(b *batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &f.recentDocs
	// Raising the floor makes every transaction that is open now conflict, if it searched:
	// too much is refused and nothing wrong is written.
	if b.untracked || len(r.list)+len(b.touched) > maxRecent {
		r.floor, r.list = b.meta.Gen, nil
		return
	}
	for _, e := range b.touched {
		r.list = append(r.list, changedDoc{b.meta.Gen, e.coll.Name, e.idKey})
	}
}

// note keeps what the batch changes for open transactions.
func (b *batch) note(e *entry) {
	if b.fold.recentDocs.open.Load() == 0 {
		b.untracked = true // one that opens before the commit is published knows nothing of it
		return
	}
	b.touched = append(b.touched, e)
}

// changedSince returns the keys of the documents of a collection that commits
// after gen changed; false if they are not known any more.
func (f *Fold) changedSince(gen uint64, coll string) (keys [][]byte, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &f.recentDocs
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

// maxLooked bounds how often a change is looked at for a predicate of one transaction:
// the committer serves nobody meanwhile. One that needs more conflicts.
const maxLooked = 1 << 18

// holds reports whether r's searches would find the same now: whether no document that
// changed since, or will by requests judged before r, was or is a match.
func (b *batch) holds(r *Request) (bool, error) {
	looked := 0
	for i := range r.Predicates {
		p := &r.Predicates[i]
		keys, known := b.fold.changedSince(r.View.Gen, p.Coll)
		if !known {
			return false, nil
		}
		for _, e := range b.entries { // judged before, in the same group
			if e.spec != nil && e.coll.Name == p.Coll {
				keys = append(keys, e.idKey)
			}
		}
		if looked += len(keys); looked > maxLooked {
			return false, nil
		}
		for _, k := range keys {
			same, err := b.unseen(r.View, p, k)
			if err != nil || !same {
				return false, err
			}
		}
	}
	return true, nil
}

// unseen reports whether a changed document is no match, before or now.
func (b *batch) unseen(v *view.View, p *Predicate, idKey []byte) (bool, error) {
	e, err := b.entry(p.Coll, idKey, keyspace.ValueNone)
	if err != nil {
		return false, err
	}
	if s := e.current(); p.matches(&s) {
		return false, nil
	}
	c := v.Cat.Colls[p.Coll]
	if c == nil {
		return true, nil
	}
	h, err := v.Head(c, idKey)
	return err == nil && !p.matches(&h.State), err
}
