// Package horizon says when an owner's or admin's device writes a horizon: once others have
// written what none has seen, at most so often for the whole database, and after a while that
// is drawn, so that of several devices one comes first and the others find it done.
//
//	Run   looks at the databases in which others have written, now and then
//
//	others write ─► Look: planned ─► another's comes: nothing is uncovered, no plan
//	                                └► the time comes: write
package horizon

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

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

// A Database is one that horizons may be written in.
type Database interface {
	comparable
	// Stirred says that others have written what no horizon may have seen.
	Stirred() *atomic.Bool
	// Ready reports whether this device has what others have.
	Ready() bool
	// Uncovered reports whether this device may write horizons and holds what others wrote and
	// no horizon in force has seen; and when the last of these was written, the zero time for
	// none.
	Uncovered(ctx context.Context) (last time.Time, some bool, err error)
	// Write writes a horizon.
	Write(ctx context.Context) error
}

// Run writes horizons until ctx ends, by the time of now. failed is told of one that is not
// written; it is tried again.
func Run[D Database](ctx context.Context, every time.Duration, all func() []D, now func() time.Time, failed func(D, error)) {
	plans := map[D]*Plan{}
	look := time.NewTicker(max(min(time.Minute, every/4), time.Millisecond))
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		here := map[D]bool{}
		for _, d := range all() {
			here[d] = true
			if !d.Stirred().Load() {
				continue
			}
			if plans[d] == nil {
				plans[d] = &Plan{Every: every, Draw: func(most time.Duration) time.Duration { return rand.N(most + 1) }}
			}
			if err := write(ctx, d, plans[d], now()); err != nil && ctx.Err() == nil {
				failed(d, err)
			}
		}
		for d := range plans {
			if !here[d] {
				delete(plans, d)
			}
		}
	}
}

// write writes one if it is time.
func write[D Database](ctx context.Context, d D, p *Plan, now time.Time) error {
	if p.Waits(now) || !d.Ready() {
		return nil
	}
	d.Stirred().Store(false) // what comes from now on is looked at again
	last, some, err := d.Uncovered(ctx)
	if err == nil && p.Look(now, last, some) {
		some, err = false, d.Write(ctx)
	}
	if some || err != nil {
		d.Stirred().Store(true)
	}
	return err
}
