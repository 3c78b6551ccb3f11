package thread

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/format"
)

// cutHistory cuts the history of th, with payloads in its place.
func cutHistory(t testing.TB, th *Thread, payloads ...string) {
	t.Helper()
	if err := th.settleSync(); err != nil {
		t.Fatal(err)
	}
	cover, err := th.Cover(th.lastArrival())
	if err != nil || cover == nil {
		t.Fatalf("cover %v: %v", cover, err)
	}
	err = th.Checkpoint(t.Context(), cover, func(add func([]byte) error) (clock.Hash, error) {
		for _, p := range payloads {
			if err := add([]byte(p)); err != nil {
				return clock.Hash{}, err
			}
		}
		return clock.Hash{9}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := th.settleSync(); err != nil {
		t.Fatal(err)
	}
}

// counted returns the payloads that count, as a fold would take them.
func counted(t testing.TB, th *Thread) (all []string) {
	t.Helper()
	th.mu.Lock()
	c := th.cut()
	th.mu.Unlock()
	for n := int64(0); ; {
		got, err := th.Arrivals(n, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			slices.Sort(all)
			return all
		}
		for _, a := range got {
			n = a.N
			if !c.Void[a.ID.Log].Has(a.ID) && (!a.Snapshot || a.ID.Seq <= c.Snapshots[a.ID.Log].Last) {
				all = append(all, string(a.Payload))
			}
		}
	}
}

func wantCounted(t testing.TB, th *Thread, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := counted(t, th); !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func prune(t testing.TB, th *Thread) int64 {
	t.Helper()
	longAgo(th)
	n, err := th.Prune(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// longAgo has the checkpoints be in force for long.
func longAgo(th *Thread) {
	th.mu.Lock()
	defer th.mu.Unlock()
	for h := range th.since {
		th.since[h] = 0
	}
}

// reopen closes a thread and opens it again, as after a restart.
func (n *testNode) reopen(t testing.TB, th *Thread) *Thread {
	t.Helper()
	th.Close()
	again, err := Open(t.Context(), n.env, th.id)
	if err != nil {
		t.Fatal(err)
	}
	return opened(t, again)
}

// A checkpoint puts its snapshot in the place of what it covers: where the history
// is held, where it was deleted, on a relay, and for who joins later. What others
// wrote without knowing of it stays.
func TestCheckpointStandsForTheHistory(t *testing.T) {
	o, b, c, r := newTestNode(t), newTestNode(t), newTestNode(t), newTestNode(t)
	to := o.create(t)
	o.write(t, to, "one", "two")
	o.write(t, to, "three")
	inv := o.invite(t, to, InviteOptions{Uses: 2})
	tr := r.adopt(t, to)
	mustPull(t, tr, to)
	tb := b.join(t, tr, inv)
	b.write(t, tb, "four", "five")
	mustPull(t, tr, tb)
	mustPull(t, to, tr)

	cutHistory(t, to, "S1", "S2")
	wantCounted(t, to, "S1", "S2")
	if n := prune(t, to); n != 5 {
		t.Fatalf("%d records deleted, want 5", n)
	}
	wantCounted(t, to, "S1", "S2")
	if got := to.Counts().Records; got >= 10 {
		t.Fatalf("%d records are left", got)
	}
	to = o.reopen(t, to)
	wantCounted(t, to, "S1", "S2")
	if cover, err := to.Cover(to.lastArrival()); cover != nil || err != nil {
		t.Fatalf("nothing was written, and %v, %v is to be covered", cover, err)
	}
	o.write(t, to, "six")
	b.write(t, tb, "late") // without knowing of the checkpoint
	mustPull(t, tr, to)
	mustPull(t, tr, tb)
	if prune(t, tr); tr.Counts().Records != to.Counts().Records+1 {
		t.Fatalf("the relay keeps %d records, the owner %d", tr.Counts().Records, to.Counts().Records)
	}
	tr = r.reopen(t, tr)
	tc := c.join(t, tr, inv)
	mustPull(t, tc, tr)
	wantCounted(t, tc, "S1", "S2", "six", "late")
	for _, pair := range [][2]*Thread{{to, tr}, {tb, tr}, {tr, tc}, {to, tc}, {tb, tc}, {to, tb}, {tr, to}, {tb, to}, {tc, to}} {
		mustPull(t, pair[0], pair[1])
	}
	for i, th := range []*Thread{to, tb, tc, tr} {
		if i < 3 {
			wantCounted(t, th, "S1", "S2", "six", "late")
		}
		if !slices.Equal(th.ackable(), to.ackable()) || !slices.Equal(th.Tips(), to.Tips()) {
			t.Fatalf("thread %d holds %v, want %v", i, th.ackable(), to.ackable())
		}
	}
	if n := prune(t, tb); n != 5 {
		t.Fatalf("the member deleted %d records, want 5", n)
	}
	b.write(t, tb, "seven")
	mustPull(t, to, tb)
	tb = b.reopen(t, tb)
	b.write(t, tb, "eight")
	mustPull(t, to, tb)

	cutHistory(t, to, "T1")
	prune(t, to)
	mustPull(t, tr, to)
	mustPull(t, tb, tr)
	mustPull(t, tc, to)
	for _, th := range []*Thread{to, tb, tc} {
		wantCounted(t, th, "T1")
	}
	if forks, err := tb.Forks(); err != nil || len(forks) > 0 {
		t.Fatalf("forks %v, %v", forks, err)
	}
}

// Who is behind the cut, with a part of the history, goes on after it.
func TestCheckpointOverAGap(t *testing.T) {
	o, b := newTestNode(t), newTestNode(t)
	to := o.create(t)
	o.write(t, to, "one")
	tb := b.join(t, to, o.invite(t, to, InviteOptions{}))
	wantCounted(t, tb, "one")
	o.write(t, to, "two")
	o.write(t, to, "three")
	cutHistory(t, to, "S")
	prune(t, to)
	o.write(t, to, "four")
	mustPull(t, tb, to)
	wantCounted(t, tb, "S", "four")
	tb.mu.Lock()
	for _, s := range tb.cut().Snapshots {
		if s.Whole {
			t.Error("a replica that lacks records claims to have all")
		}
	}
	tb.mu.Unlock()
	tb = b.reopen(t, tb)
	wantCounted(t, tb, "S", "four")
	prune(t, tb)
	wantCounted(t, tb, "S", "four")
	mustPull(t, to, tb)
	mustPull(t, tb, to) // the close of the invite
	if !slices.Equal(tb.ackable(), to.ackable()) {
		t.Fatalf("got %v, want %v", tb.ackable(), to.ackable())
	}
}

// A deletion that was cut short goes on after a restart.
func TestPruneResumes(t *testing.T) {
	o := newTestNode(t)
	to := o.create(t)
	for i := range 20 {
		o.write(t, to, fmt.Sprint(i))
	}
	cutHistory(t, to, "S")
	o.write(t, to, "next")
	longAgo(to)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := to.Prune(ended); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	to = o.reopen(t, to)
	wantCounted(t, to, "S", "next")
	o.write(t, to, "more")
	if n := prune(t, to); n != 20 {
		t.Fatalf("%d records deleted, want 20", n)
	}
	wantCounted(t, to, "S", "next", "more")
}

// Checkpoints that may not be are refused, by all and for ever.
func TestHostileCheckpoints(t *testing.T) {
	o, b := newTestNode(t), newTestNode(t)
	to := o.create(t)
	o.write(t, to, "one", "two")
	tb := b.join(t, to, o.invite(t, to, InviteOptions{}))
	if err := tb.MayCheckpoint(); !errors.Is(err, ErrCheckpoint) {
		t.Fatalf("a member that did not make the thread: %v", err)
	}
	head := func(th *Thread) clock.RecordID { return th.ownData.Branches[0].Tip }
	announce := func(th *Thread, n *testNode) clock.RecordID {
		d := format.NewDescriptor(n.env.self(), format.KindSnapshot, th.ownControl.ID)
		if _, err := th.appendControl(t.Context(), &format.Control{Op: format.OpLog, Data: d.Encode()}); err != nil {
			t.Fatal(err)
		}
		return clock.RecordID{Log: d.LogID(th.id), Seq: 1, Hash: clock.Hash{1}}
	}
	try := func(what string, th *Thread, c *format.Checkpoint, want error) {
		t.Helper()
		slices.SortFunc(c.Heads, format.CompareIDs)
		if _, err := th.appendControl(t.Context(), &format.Control{Op: format.OpCheckpoint, Checkpoint: c}); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", what, err, want)
		}
	}
	first := &format.Checkpoint{Heads: []clock.RecordID{head(to)}, Snapshot: announce(to, o)}
	try("by a member, without effect", tb, &format.Checkpoint{Heads: first.Heads, Snapshot: announce(tb, b)}, nil)
	try("with a log that is not announced", to, &format.Checkpoint{Heads: first.Heads, Snapshot: clock.RecordID{Log: clock.LogID{5}, Seq: 1}}, ErrNotMember)
	try("with a data log", to, &format.Checkpoint{Heads: []clock.RecordID{{Log: clock.LogID{5}, Seq: 1}}, Snapshot: head(to)}, ErrNotMember)
	try("of a control log", to, &format.Checkpoint{Heads: []clock.RecordID{to.ownControl.Branches[0].Tip}, Snapshot: first.Snapshot}, format.ErrMalformed)
	try("first", to, first, nil)
	try("with the same snapshot", to, &format.Checkpoint{Heads: []clock.RecordID{{Log: clock.LogID{5}, Seq: 1}}, Snapshot: first.Snapshot}, format.ErrMalformed)
	back := head(to)
	back.Seq--
	try("going back", to, &format.Checkpoint{Heads: []clock.RecordID{back}, Snapshot: announce(to, o)}, format.ErrMalformed)
	mustPull(t, tb, to)
	tb.mu.Lock()
	defer tb.mu.Unlock()
	if c := tb.cut(); len(c.Void) > 0 || len(c.Snapshots) > 0 {
		t.Errorf("a checkpoint without its snapshot is in force: %+v", c)
	}
}

// A device that was restored from a copy older than a checkpoint writes a new log
// as soon as it knows of that: what it writes is not taken for what is covered.
func TestRestoredBehindACheckpoint(t *testing.T) {
	o, b, backup := newTestNode(t), newTestNode(t), t.TempDir()
	to := o.create(t)
	inv := o.invite(t, to, InviteOptions{})
	tb := b.join(t, to, inv)
	b.write(t, tb, "one")
	copyStore(t, b.env.store, backup)
	b.write(t, tb, "two", "three")
	mustPull(t, to, tb)
	cutHistory(t, to, "S")
	prune(t, to)
	r := openTestNode(t, backup, b.env.device, b.env.cert)
	copied, err := Open(t.Context(), r.env, tb.id)
	if err != nil {
		t.Fatal(err)
	}
	opened(t, copied)
	mustPull(t, copied, to)
	wantCounted(t, copied, "S")
	before := copied.ownData
	r.write(t, copied, "four")
	if copied.ownData == before {
		t.Fatal("the restored device goes on with a log of which it lacks covered records")
	}
	mustPull(t, to, copied)
	wantCounted(t, to, "S", "four")
	wantCounted(t, copied, "S", "four")
}

// What a relay can open or is told of a state hash is a tag, which it cannot compute
// for a guess of the documents; members compute the same one.
func TestRelaysSeeNoStateHash(t *testing.T) {
	o, b, r := newTestNode(t), newTestNode(t), newTestNode(t)
	to := o.create(t)
	o.write(t, to, "one")
	inv := o.invite(t, to, InviteOptions{})
	tr := r.adopt(t, to)
	mustPull(t, tr, to)
	tb := b.join(t, tr, inv)
	cutHistory(t, to, "S1")
	mustPull(t, tr, to)
	mustPull(t, tb, tr)

	hash := clock.Hash{9} // what cutHistory gives
	tag := to.StateTag(hash)
	if tag == hash || tr.StateTag(hash) == tag {
		t.Fatalf("the tag of %s is %s, and the relay computes %s", hash, tag, tr.StateTag(hash))
	}
	for _, th := range []*Thread{to, tr, tb} {
		if got := th.graph.State().Checkpoints; len(got) != 1 || got[0].State != tag {
			t.Fatalf("got checkpoints %v, want one with the tag %s", got, tag)
		}
	}
	if got := tb.StateTag(hash); got != tag {
		t.Fatalf("the member computes %s, want %s", got, tag)
	}
	to.Attach(&Attachment{State: func() (int64, clock.Hash, bool) { return to.lastArrival(), hash, true }})
	defer to.Attach(nil)
	if _, state := to.Durable(); !bytes.Equal(state, tag[:]) {
		t.Fatalf("peers are told %x, want the tag %s", state, tag)
	}
}
