package horizon

import (
	"testing"
	"time"
)

// A device writes once others have, not before a quarter of an hour after any horizon, and
// not at all if another's covers it meanwhile.
func TestWhenHorizonsAreWritten(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(m int) time.Time { return begin.Add(time.Duration(m) * time.Minute) }
	var drawn time.Duration
	p := &Plan{Every: 15 * time.Minute, Draw: func(most time.Duration) time.Duration {
		if most != 3*time.Minute {
			t.Fatalf("draws up to %v", most)
		}
		return drawn
	}}
	look := func(now, last int, uncovered, want bool) {
		t.Helper()
		var l time.Time
		if last >= 0 {
			l = at(last)
		}
		if got := p.Look(at(now), l, uncovered); got != want {
			t.Errorf("at %d, last %d, uncovered %v: got %v", now, last, uncovered, got)
		}
	}
	look(0, -1, false, false)
	drawn = 2 * time.Minute
	look(0, -1, true, false)
	if !p.Waits(at(1)) || p.Waits(at(2)) {
		t.Error("it does not wait for what was drawn")
	}
	look(1, -1, true, false)
	look(2, -1, true, true)
	look(3, 2, false, false)
	look(4, 2, true, false) // planned for 19
	look(18, 2, true, false)
	look(18, 18, false, false) // another's
	look(20, 18, true, false)  // planned for 35
	look(34, 18, true, false)
	look(36, 18, true, true)
	drawn = 0
	look(90, 36, true, true)
}
