package thread

import (
	"fmt"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/clock"
)

// dataLogs returns how many data logs of its own a device has opened.
func dataLogs(th *Thread) (n int) {
	th.mu.Lock()
	defer th.mu.Unlock()
	th.graph.Announced(func(log, control clock.LogID) {
		if control == th.ownControl.ID {
			n++
		}
	})
	return n
}

// A member writes at the limit of what others take, all the time: who writes meanwhile
// goes on in its log, and is taken everywhere.
func TestAttackClockAtLimit(t *testing.T) {
	to, from, toNode, _ := twoMembers(t)
	f := forgerOf(from)
	want := []string{"good"}
	for i := range 50 {
		f.time = max(f.time, clock.At(time.Now().Add(clock.MaxAhead))) // and one more: as late as is taken
		name := fmt.Sprint("ahead ", i)
		if res, err := to.Ingest(t.Context(), f.run(f.record(t, readKey(t, from), name, nil))); err != nil || res.Waiting {
			t.Fatal(res, err)
		}
		want = append(want, name)
		for k := range 4 {
			name := fmt.Sprint(i, " ", k)
			toNode.write(t, to, name)
			want = append(want, name)
		}
	}
	if n := dataLogs(to); n != 1 {
		t.Errorf("%d data logs, want the one that it had", n)
	}
	wantPayloads(t, to, want...)
}

// The wall clock of a device was an hour ahead while it wrote, and is set back: it goes
// on in one new log, whose records others take at once.
func TestClockIsSetBack(t *testing.T) {
	late := time.Hour
	o, m := lateNode(t, &late), newMemoryNode(t)
	late = 0
	to := o.create(t)
	tm := m.join(t, to, o.invite(t, to, InviteOptions{}))
	mustPull(t, to, tm)
	o.write(t, to, "in time")
	late = time.Hour
	o.write(t, to, "ahead")
	late = 0
	want := []string{"in time"}
	for i := range 50 {
		o.write(t, to, fmt.Sprint(i))
		want = append(want, fmt.Sprint(i))
	}
	if n := dataLogs(to); n != 2 {
		t.Errorf("%d data logs, want two", n)
	}
	mustPull(t, tm, to)
	wantPayloads(t, tm, want...)
}
