package plan

import (
	"cmp"
	"math"
	"slices"
)

// What it costs to look at a key and to fetch a document out of order, in
// documents scanned.
// CostFetch and the others are measured ratios, not units of time.
const (
	CostKey   = 0.5
	CostFetch = 6
	costSort  = 1   // a document that all are sorted with
	costTop   = 0.2 // one that is compared with the first few
)

// guessShare is how much counting may cost of what a plan is thought to cost that may end
// early.
const guessShare = 1.0 / 8

// choose puts the cheapest of the candidates first. It counts keys of whichever is
// cheapest by what has been counted so far, until one is counted to its end and still is:
// the others cost more already. An access is thus given up only when the keys that were
// really there make it dearer than another, and counting costs a small part of what the
// query costs, for a key costs a small part of its document.
//
//	scan 300,000 · country = "JP" by an index
//	64 keys 416 · 128 keys 832 · … · 2,178 keys 14,157, and that is the end: the index
//	64 keys 416 · 128 keys 832 · … · 46,154 keys 300,001: the scan
func (p *Planner) choose() error {
	for {
		p.price()
		slices.SortStableFunc(p.Found, func(a, b *Access) int { return cmp.Compare(a.Cost, b.Cost) })
		n := p.more()
		if n == 0 {
			break
		}
		if err := p.count(p.Found[0], n); err != nil {
			return err
		}
	}
	for _, a := range p.Found[1:] {
		a.drop()
	}
	return nil
}

// more returns how many keys of the cheapest candidate are to be counted next; 0 if it is
// chosen.
func (p *Planner) more() int {
	a := p.Found[0]
	keys, docs, done := p.known(a)
	if done || len(p.Found) == 1 || a.Cost >= p.scan() {
		return 0
	}
	other := p.Found[1].Cost
	if p.Count && a.Exact && p.Total*CostKey <= other {
		return 0 // it cannot have more keys than there are documents
	}
	counted := max(keys, docs) // one by _id has no keys of an index
	n := max(firstKeys, counted)
	switch {
	case p.early(a) && a.Exact && p.inOrder(a):
		n = min(n, float64(p.Want)-docs)
	case p.early(a):
		if counted > 0 && counted*CostKey >= guessShare*a.Cost {
			return 0
		}
	case counted > 0 && a.Cost > 0:
		// No more than make it dearer than the next.
		n = min(n, (other-a.Cost)*counted/a.Cost+1)
	}
	return int(max(0, math.Ceil(n)))
}

// scan is what it costs to read all documents, which can always be done.
func (p *Planner) scan() float64 {
	if len(p.Sort) == 0 || p.Count {
		return p.Total
	}
	return p.Total + p.sorting(p.Total)
}

// sorting is what it costs to sort so many documents, of which maybe only the first are
// wanted.
func (p *Planner) sorting(docs float64) float64 {
	if p.Want == 0 {
		return docs * costSort
	}
	return docs * costTop
}

// price sets what each candidate costs by what is known of it. Those that may end early
// have a guess: what they need of what is expected to match.
func (p *Planner) price() {
	matches := p.Total
	if p.Want > 0 && !p.Count {
		for _, a := range p.Found {
			_, docs := p.guess(a)
			matches = min(matches, max(1, docs))
		}
	}
	for _, a := range p.Found {
		if !p.early(a) {
			var done bool
			if a.Cost, done = p.certain(a); !done && a.Index == nil && a.Parts == nil {
				// Counting costs half of reading here, so that it stops halfway.
				a.Cost = min(2*a.Cost, p.scan())
			}
			continue
		}
		a.Cost = p.full(a, p.guess) * p.share(a, matches)
	}
}

// inOrder reports whether a gives documents as the query wants them, without a sort.
func (p *Planner) inOrder(a *Access) bool { return len(p.Sort) == 0 || a.Order.Whole }

// early reports whether a may end before its last key: only some documents are wanted,
// and they come in the order of the sort, or of its first fields.
func (p *Planner) early(a *Access) bool {
	return p.Want > 0 && !p.Count && (p.inOrder(a) || a.Order.Fields > 0)
}

// share is the part of an access that is needed to find what is wanted, if about so many
// documents match. What the filter lets through of an inexact access is guessed.
func (p *Planner) share(a *Access, matches float64) float64 {
	if a.Exact {
		_, matches = p.guess(a)
	} else if p.Filter != nil {
		matches *= 0.3
	}
	part := float64(p.Want) / max(1, matches)
	if !p.inOrder(a) {
		part = 2 * math.Sqrt(part) // whole ties
	}
	return min(1, part)
}

// certain returns what a costs at least, and whether it costs no more.
func (p *Planner) certain(a *Access) (cost float64, done bool) {
	_, docs, done := p.known(a)
	cost = p.full(a, func(a *Access) (float64, float64) {
		keys, docs, _ := p.known(a)
		return keys, docs
	})
	if p.early(a) && a.Exact && p.inOrder(a) && docs >= float64(p.Want) {
		return cost * float64(p.Want) / docs, true
	}
	return cost, done
}

// full returns what it costs to read all of a, of the size that size says.
func (p *Planner) full(a *Access, size func(*Access) (keys, docs float64)) (cost float64) {
	keys, docs := size(a)
	switch {
	case a.Index == nil && a.Parts == nil && a.Ids == nil:
		cost = docs
	case p.Count && a.Exact:
		cost = keys * CostKey
	default:
		cost = keys*CostKey + docs*CostFetch
	}
	if !p.inOrder(a) && !p.Count && (p.Want == 0 || a.Order.Fields == 0) {
		cost += p.sorting(docs)
	}
	return cost
}

// Spent returns what it has cost to read so many keys and documents of a.
func (a *Access) Spent(keys, docs int64) float64 {
	if a.Index == nil && a.Parts == nil && a.Ids == nil {
		return float64(docs)
	}
	return float64(keys)*CostKey + float64(docs)*CostFetch
}

// MayMislead reports whether the price of a is a guess, so that who walks it should ask
// Overtaken when it has cost more.
func (p *Planner) MayMislead(a *Access) bool {
	if len(p.Found) < 2 || !p.early(a) {
		return false
	}
	return !p.inOrder(a) || !a.Exact && p.Filter != nil
}

// Overtaken returns the access that is certain to cost less than a has cost so far, and
// less than what is left of it; if there is none yet, nil and when to ask again. It counts
// on in those that might be.
func (p *Planner) Overtaken(a *Access, spent float64) (best *Access, again float64, err error) {
	least, again := spent, 2*spent
	if cost, done := p.certain(a); done {
		least = min(least, cost-spent)
	}
	for _, b := range p.Found {
		if b == a {
			continue
		}
		cost, done := p.certain(b)
		for !done && cost < least {
			keys, docs, _ := p.known(b)
			if err := p.count(b, int(max(firstKeys, keys, docs))); err != nil {
				return nil, 0, err
			}
			cost, done = p.certain(b)
		}
		if done && cost < least {
			best, least = b, cost
		} else if done && cost > spent {
			again = min(again, cost)
		}
	}
	return best, again, nil
}

// Estimate sets the keys and documents of a to what is known or guessed of it.
func (p *Planner) Estimate(a *Access) error {
	if keys, docs, done := p.known(a); !done && max(keys, docs) == 0 {
		if err := p.count(a, firstKeys); err != nil {
			return err
		}
	}
	a.Keys, a.Docs = p.guess(a)
	return nil
}

// Counted returns how many keys were counted to choose.
func (p *Planner) Counted() (n int64) {
	for _, a := range p.Found {
		n += int64(a.tally.keys)
		for _, b := range a.Parts {
			n += int64(b.tally.keys)
		}
	}
	return n
}
