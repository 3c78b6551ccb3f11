// Package horizon says when an owner's or admin's device writes a horizon: once others have
// written what none has seen, at most so often for the whole database, and after a while that
// is drawn, so that of several devices one comes first and the others find it done.
//
//	others write ─► Look: planned ─► another's comes: nothing is uncovered, no plan
//	                                └► the time comes: write
package horizon

import "time"

// Every is how often at most, if nothing else is asked for.
const Every = 15 * time.Minute

// A Plan is when one database gets its next horizon. The zero time is no plan.
type Plan struct {
	Every time.Duration                          // at least, between two of any authors
	Draw  func(most time.Duration) time.Duration // from 0 to most
	at    time.Time
}

// Waits reports whether it is planned for later than now: there is nothing to look at.
func (p *Plan) Waits(now time.Time) bool { return now.Before(p.at) }

// Look reports whether to write a horizon now. last is when the last in force was written,
// the zero time for none; uncovered says that others have written what none has seen.
func (p *Plan) Look(now, last time.Time, uncovered bool) bool {
	if !uncovered {
		p.at = time.Time{}
		return false
	}
	next := now
	if due := last.Add(p.Every); due.After(now) {
		next = due
	}
	if p.at.IsZero() || next.After(now) {
		p.at = next.Add(p.Draw(p.Every / 5))
	}
	if p.Waits(now) {
		return false
	}
	p.at = time.Time{}
	return true
}
