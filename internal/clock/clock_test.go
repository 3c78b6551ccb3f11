package clock

import (
	"errors"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Times strictly increase and exceed what was observed, unless the wall clock was set back by
// minutes.
func TestClockStrictlyIncreases(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wall := time.UnixMilli(1_700_000_000_000)
		c := &Clock{Wall: func() time.Time { return wall }}
		var last Time
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			wall = wall.Add(time.Duration(rapid.IntRange(-3000, 3000).Draw(t, "jump")) * time.Millisecond)
			if rapid.Bool().Draw(t, "observe") {
				seen := At(wall.Add(time.Duration(rapid.IntRange(-1000, 400_000).Draw(t, "ahead")) * time.Millisecond))
				err := c.Observe(seen)
				if ahead := seen.Wall().After(wall.Add(MaxAhead)); ahead != errors.Is(err, ErrAhead) {
					t.Fatalf("Observe(%v) at %v: got %v, want ErrAhead: %v", seen.Wall(), wall, err, ahead)
				}
				if err == nil {
					last = max(last, seen)
				}
			}
			now := c.Now()
			if last+1 > At(wall.Add(MaxAhead+Slack)) {
				if now != At(wall) {
					t.Fatalf("got %d, want the wall's %d: nobody would take a time after %d", now, At(wall), last)
				}
			} else if now <= last {
				t.Fatalf("got %d after %d, want a later time", now, last)
			}
			last = now
		}
	})
}

func TestClockConcurrent(t *testing.T) {
	var c Clock
	var mu sync.Mutex
	seen := map[Time]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				now := c.Now()
				mu.Lock()
				if seen[now] {
					t.Errorf("got time %d twice", now)
				}
				seen[now] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestStampOrderIsTotal(t *testing.T) {
	gen := rapid.Custom(func(t *rapid.T) Stamp {
		var s Stamp
		s.Time = Time(rapid.IntRange(0, 2).Draw(t, "time"))
		s.Log[31] = rapid.ByteRange(0, 2).Draw(t, "log")
		s.Hash[0] = rapid.ByteRange(0, 2).Draw(t, "hash")
		s.Index = uint32(rapid.IntRange(0, 2).Draw(t, "index"))
		return s
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := gen.Draw(t, "a"), gen.Draw(t, "b"), gen.Draw(t, "c")
		if a.Compare(b) != -b.Compare(a) {
			t.Fatalf("%v and %v: not antisymmetric", a, b)
		}
		if (a.Compare(b) == 0) != (a == b) {
			t.Fatalf("%v and %v: equal stamps differ", a, b)
		}
		if a.Compare(b) <= 0 && b.Compare(c) <= 0 && a.Compare(c) > 0 {
			t.Fatalf("%v, %v, %v: not transitive", a, b, c)
		}
	})
}
