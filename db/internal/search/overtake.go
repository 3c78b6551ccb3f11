package search

import (
	"errors"
	"slices"
	"sync/atomic"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/plan"
	"github.com/weftdb/weft/db/internal/view"
)

// An overtaking changes the plan of a search under way. A walk that ends after the first
// few documents that match was chosen by a guess of where these lie; when it has cost
// what another access is certain to cost, that one goes on in its place. What was given
// out is left out there. The order is the same whatever the plan, so that nobody notices.
//
//	{a: 1} sort {b: 1} limit 10      b's index, for one document in 30 has a = 1
//	10,000 documents, none found     a's index has 2,178 with a = 1: read them, sort them
type overtaking struct {
	limit   float64             // that may be spent before others are looked at
	given   map[string]struct{} // the keys of the _ids that were given out
	size    int                 // bytes of given
	changed bool                // another access has taken over
	keys    int64               // examined until then
	docs    int64
}

// mayOvertake begins to watch the cost of the chosen access, if it is a guess.
func (s *Search) mayOvertake() {
	if s.planner.MayMislead(s.Access) {
		s.over = &overtaking{limit: s.Access.Cost, given: map[string]struct{}{}}
	}
}

// gave reports whether a document was given out before another access took over. It may
// be called by several goroutines.
func (s *Search) gave(idKey []byte) bool {
	if s.over == nil || !s.over.changed {
		return false
	}
	_, ok := s.over.given[string(idKey)]
	return ok
}

// watchCost notes what is given out now and, if the access has cost too much, has another
// take over from the next refill on. It runs between two refills, so nothing is being read
// while the access changes.
func (s *Search) watchCost() error {
	o := s.over
	if o == nil || o.changed || s.source == nil {
		return nil
	}
	for i := range s.out {
		o.given[string(s.out[i].IDKey)] = struct{}{}
		o.size += len(s.out[i].IDKey) + 32
	}
	if o.size > MaxSeen {
		s.over = nil // too many to be left out elsewhere: this access it is
		return nil
	}
	spent := s.cost()
	if spent < o.limit {
		return nil
	}
	var a *plan.Access
	var err error
	if a, o.limit, err = s.planner.Overtaken(s.Access, spent); a == nil || err != nil {
		return err
	}
	o.keys, o.docs = s.keysExamined.Load(), s.DocsExamined.Load()
	return s.takeOver(a)
}

// cost returns what the search has cost so far, in documents scanned. Of two accesses each
// is priced by its own keys and documents: what was read until the change, and since.
func (s *Search) cost() float64 {
	keys, docs := s.keysExamined.Load(), s.DocsExamined.Load()
	switch {
	case s.Access == nil:
		return 0
	case s.Overtook == nil:
		return s.Access.Spent(keys, docs)
	}
	return s.Access.Spent(s.over.keys, s.over.docs) + s.Overtook.Spent(keys-s.over.keys, docs-s.over.docs)
}

// takeOver goes on with a. If a is in another order than the sort, all that is left is read
// and sorted now. Where that takes too much memory the walk that was under way goes on as
// if nothing had been: it has not been closed.
func (s *Search) takeOver(a *plan.Access) error {
	parts, source, seen, size := s.Parts, s.source, s.seen, s.size
	s.Parts, s.seen, s.size = []*plan.Access{a}, nil, 0
	if a.Parts != nil {
		s.Parts = slices.Clone(a.Parts)
	}
	s.source, s.Overtook, s.over.changed = nil, a, true
	if s.Sort != nil && !a.Order.Whole {
		rest, err := s.sortRest()
		if errors.Is(err, keyspace.ErrMemory) {
			// Its documents cannot be sorted in memory, those of the walk need not be.
			s.Parts, s.source, s.seen, s.size, s.done = parts, source, seen, size, false
			s.Overtook, s.over = nil, nil
			return nil
		}
		if err != nil {
			source.close()
			return err
		}
		s.Parts, s.source, s.done = []*plan.Access{a}, rest, false
	}
	source.close()
	return nil
}

// sortRest reads what was not given out, and sorts it.
func (s *Search) sortRest() (*sortedRest, error) {
	var held atomic.Int64
	heaps := make([]Sink, Workers())
	for i := range heaps {
		heaps[i] = &topK{s: s, want: s.o.want(), held: &held}
	}
	if err := s.Drain(heaps); err != nil {
		return nil, err
	}
	r := &sortedRest{}
	for _, h := range heaps {
		r.docs = append(r.docs, h.(*topK).docs...)
	}
	slices.SortFunc(r.docs, func(a, b view.Found) int { return Less(&a, &b) })
	return r, nil
}

// A sortedRest is a source that has all it will give.
type sortedRest struct{ docs []view.Found }

func (r *sortedRest) refill(*Search) ([]view.Found, bool, error) { return r.docs, false, nil }

func (r *sortedRest) close() {}
