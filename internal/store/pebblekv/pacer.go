package pebblekv

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// After a merge that failed the next one waits: one second, twice as long after each
// further one, and a minute at most. Pebble alone would try again at once, for ever.
const (
	firstPause = time.Second
	lastPause  = time.Minute
)

// Tables that damage keeps from being merged stay in level 0. With mostUnmerged of them
// writes are refused; at stopWrites pebble lets them wait until some are merged.
const (
	mostUnmerged = 500
	stopWrites   = 2 * mostUnmerged
)

// A pacer schedules pebble's merges, one at a time.
type pacer struct {
	db     pebble.DBForCompaction
	grants sync.WaitGroup // calls of grant that ask db; mu is never held there

	mu     sync.Mutex
	busy   bool // a merge runs, or db is asked for one
	missed bool // db was refused one while busy
	ended  bool
	pause  time.Duration // that the last failure made; 0 after a success
	wait   *time.Timer   // grants when the pause is over; nil if there is none

	damaged atomic.Bool  // a merge met damage
	level0  atomic.Int64 // tables that wait in level 0, nearly
}

func (p *pacer) Register(_ int, db pebble.DBForCompaction) { p.db = db }

func (p *pacer) Unregister() {
	p.mu.Lock()
	p.ended = true
	p.stopWaiting()
	p.mu.Unlock()
	p.grants.Wait()
}

func (p *pacer) stopWaiting() {
	if p.wait != nil {
		p.wait.Stop()
		p.wait = nil
	}
}

// take begins a merge if one may begin; mu is held.
func (p *pacer) take() bool {
	if p.ended || p.busy || p.wait != nil {
		p.missed = true
		return false
	}
	p.busy, p.missed = true, false
	return true
}

func (p *pacer) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.take(), p
}

// grant begins a merge that was refused before, if there is one.
func (p *pacer) grant() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.take() {
		p.grants.Add(1)
		p.mu.Unlock()
		begun, _ := p.db.GetWaitingCompaction()
		begun = begun && p.db.Schedule(p)
		p.grants.Done()
		p.mu.Lock()
		if begun {
			return
		}
		p.busy = false
		if !p.missed {
			return
		}
	}
}

func (p *pacer) Done() {
	p.mu.Lock()
	p.busy = false
	p.mu.Unlock()
	p.grant()
}

// failed makes the next merge wait.
func (p *pacer) failed(err error) {
	if pebble.IsCorruptionError(err) {
		p.damaged.Store(true)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.pause = min(max(2*p.pause, firstPause), lastPause)
	p.stopWaiting()
	p.wait = time.AfterFunc(p.pause, p.resume)
}

// merged notes a merge that succeeded.
func (p *pacer) merged(i pebble.CompactionInfo) {
	p.mu.Lock()
	p.pause = 0
	p.mu.Unlock()
	for _, from := range i.Input {
		if from.Level == 0 {
			p.level0.Add(int64(-len(from.Tables)))
		}
	}
	if i.Output.Level == 0 {
		p.level0.Add(int64(len(i.Output.Tables)))
	}
}

// refusal is why nothing more is written, or nil.
func (p *pacer) refusal(dir string) error {
	if p.level0.Load() < mostUnmerged || !p.damaged.Load() {
		return nil
	}
	return fault.Of(store.ErrCorrupt, "%s takes no writes: damage keeps its tables from being merged: run weft doctor", dir)
}

// resume ends a pause.
func (p *pacer) resume() {
	p.mu.Lock()
	p.stopWaiting()
	p.mu.Unlock()
	p.grant()
}

// Pebble tells what its merges cost; nothing is limited by it.

func (p *pacer) UpdateGetAllowedWithoutPermission()                {}
func (p *pacer) Started()                                          {}
func (p *pacer) MeasureCPU(pebble.CompactionGoroutineKind)         {}
func (p *pacer) CumulativeStats(pebble.CompactionGrantHandleStats) {}
