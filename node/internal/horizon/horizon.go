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
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
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
type Database struct {
	Name    string
	Stirred *atomic.Bool // others have written what no horizon may have seen; it names the database
	Ready   func() bool  // this device has what others have
	Open    func(context.Context) (*replica.Replica, error)
}

// Run writes horizons until ctx ends, by a clock, of databases that are asked for each time.
// One that is not written is tried again, and logged.
func Run(ctx context.Context, every time.Duration, all func() []Database, c *clock.Clock, log *slog.Logger) {
	plans := map[*atomic.Bool]*Plan{}
	look := time.NewTicker(max(min(time.Minute, every/4), time.Millisecond))
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		here := map[*atomic.Bool]bool{}
		for _, d := range all() {
			here[d.Stirred] = true
			if !d.Stirred.Load() {
				continue
			}
			if plans[d.Stirred] == nil {
				plans[d.Stirred] = &Plan{Every: every, Draw: func(most time.Duration) time.Duration { return rand.N(most + 1) }}
			}
			err := d.look(ctx, plans[d.Stirred], c.Real().Wall())
			if err != nil && ctx.Err() == nil && !fault.Is(err, fault.Closed) {
				log.Warn("a horizon is not written", "database", d.Name, "error", err)
			}
		}
		for d := range plans {
			if !here[d] {
				delete(plans, d)
			}
		}
	}
}

// look writes one if it is time.
func (d *Database) look(ctx context.Context, p *Plan, now time.Time) error {
	if p.Waits(now) || !d.Ready() {
		return nil
	}
	d.Stirred.Store(false) // what comes from now on is looked at again
	again, err := d.write(ctx, p, now)
	if again || err != nil {
		d.Stirred.Store(true)
	}
	return err
}

func (d *Database) write(ctx context.Context, p *Plan, now time.Time) (again bool, err error) {
	fold, err := d.Open(ctx)
	if err != nil {
		return false, err
	}
	last, some, err := fold.Uncovered(ctx)
	if err != nil {
		return false, err
	}
	var at time.Time
	if last > 0 {
		at = last.Wall()
	}
	if p.Look(now, at, some) {
		return false, fold.WriteHorizon(ctx)
	}
	return some, nil
}
