package thread

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// far are times that a writer may choose: on whatever side of the bounds of 64 bits
// and of durations the waits for them are reckoned.
var far = map[string]time.Duration{
	"six minutes": 6 * time.Minute,
	"200 years":   200 * 365 * 24 * time.Hour,
	"292 years":   1<<63 - 1,
}

// What is far ahead waits and is listed; waiting for it costs a look in an hour.
func TestFarAheadWaitsAndSleeps(t *testing.T) {
	for name, ahead := range far {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				to, from, _, _ := twoMembers(t)
				f := forgerOf(from)
				f.time = clock.At(time.Now().Add(ahead))
				if res, err := to.Ingest(t.Context(), f.run(f.record(t, readKey(t, from), "early", nil))); err != nil || !res.Waiting {
					t.Fatalf("got %+v, %v", res, err)
				}
				if ws, err := to.Waiting(); err != nil || len(ws) != 1 {
					t.Fatalf("got %+v, %v", ws, err)
				}
				time.Sleep(5 * time.Hour) // a waker that spins lets no fake time pass
				synctest.Wait()
				if ahead == 6*time.Minute {
					wantPayloads(t, to, "good", "early")
				} else {
					wantPayloads(t, to, "good")
				}
				from.Close()
				to.Close()
			})
		})
	}
}

// A time that no replica could ever take is refused by all, as the sender's fault.
func TestImpossibleTimesAreRefused(t *testing.T) {
	for _, at := range []clock.Time{clock.MaxTime + 1, 1<<64 - 1} {
		to, from, _, _ := twoMembers(t)
		relay := newMemoryNode(t).adopt(t, to)
		mustPull(t, relay, to)
		f := forgerOf(from)
		f.time = at - 1
		r := f.run(f.record(t, readKey(t, from), "late", nil))
		for _, th := range []*Thread{to, relay} {
			_, err := th.Ingest(t.Context(), r)
			if rej, ok := errors.AsType[*Rejection](err); !ok || rej.Kind() != fault.BadClock || !rej.Hostile() {
				t.Errorf("time %d: got %v, want a refusal", at, err)
			}
			if ws, err := th.Waiting(); err != nil || len(ws) != 0 {
				t.Errorf("time %d: waits: %+v, %v", at, ws, err)
			}
		}
	}
	to, from, _, _ := twoMembers(t)
	f := forgerOf(from)
	f.time = clock.MaxTime - 1
	if res, err := to.Ingest(t.Context(), f.run(f.record(t, readKey(t, from), "last", nil))); err != nil || !res.Waiting {
		t.Errorf("the last time there is: got %+v, %v, want that it waits", res, err)
	}
}

// What waited when the thread was closed is judged when its time has come, also if
// that was meanwhile.
func TestWaitingSurvivesReopening(t *testing.T) {
	for name, meanwhile := range map[string]time.Duration{"before its time": time.Second, "after its time": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				to, from, node, _ := twoMembers(t)
				f := forgerOf(from)
				f.time = clock.At(time.Now().Add(clock.MaxAhead + time.Minute))
				if res, err := to.Ingest(t.Context(), f.run(f.record(t, readKey(t, from), "early", nil))); err != nil || !res.Waiting {
					t.Fatalf("got %+v, %v", res, err)
				}
				to.Close()
				from.Close()
				time.Sleep(meanwhile)
				to, err := Open(t.Context(), node.env, to.id)
				if err != nil {
					t.Fatal(err)
				}
				defer to.Close()
				to.Flushed(to.lastArrival())
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				wantPayloads(t, to, "good", "early")
			})
		})
	}
}
