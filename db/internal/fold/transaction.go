package fold

import (
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/recent"
	"github.com/weftdb/weft/db/internal/view"
)

// A Predicate is what a transaction has searched a collection for.
type Predicate = recent.Predicate

// Begin opens a transaction's view: from now on changes are remembered. Both under one
// lock, so that no commit is between the view and what is remembered.
func (f *Fold) Begin() (*view.View, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, err := f.latest()
	if err == nil {
		f.recentDocs.Open.Add(1)
	}
	return v, err
}

// End ends what Begin began.
func (f *Fold) End(v *view.View) {
	f.mu.Lock()
	f.recentDocs.End()
	f.mu.Unlock()
	v.Release()
}

// rememberChanges keeps a batch's changes for the open transactions, before the
// batch is published.
func (f *Fold) rememberChanges(b *batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &f.recentDocs
	if b.untracked || !r.Fits(len(b.touched)) {
		r.Forget(b.meta.Gen)
		return
	}
	for _, e := range b.touched {
		r.Add(b.meta.Gen, e.coll.Name, e.idKey)
	}
}

// note keeps what the batch changes for open transactions.
func (b *batch) note(e *entry) {
	if b.fold.recentDocs.Open.Load() == 0 {
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
	return f.recentDocs.Since(gen, coll)
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
	if s := e.current(); p.Matches(&s) {
		return false, nil
	}
	c := v.Cat.Colls[p.Coll]
	if c == nil {
		return true, nil
	}
	h, err := v.Head(c, idKey)
	return err == nil && !p.Matches(&h.State), err
}
