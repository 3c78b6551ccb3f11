package thread

import (
	"testing"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/format"
)

// A cutScene is an owner with an admin, a writer and a relay, and history that the owner has cut.
type cutScene struct {
	o, a, w, r     *testNode
	to, ta, tw, tr *Thread
}

func newCutScene(t *testing.T) *cutScene {
	s := &cutScene{o: newMemoryNode(t), a: newMemoryNode(t), w: newMemoryNode(t), r: newMemoryNode(t)}
	s.to = s.o.create(t)
	inv := s.o.invite(t, s.to, InviteOptions{Uses: 2})
	s.tr = s.r.adopt(t, s.to)
	s.ta, s.tw = s.a.join(t, s.to, inv), s.w.join(t, s.to, inv)
	mustPull(t, s.to, s.ta)
	mustPull(t, s.to, s.tw)
	if err := s.to.SetRole(t.Context(), s.ta.graph.State().Members[s.a.env.self()].Identity, format.RoleAdmin); err != nil {
		t.Fatal(err)
	}
	s.o.write(t, s.to, "one", "two")
	s.meet(t)
	cutHistory(t, s.to, "S")
	s.meet(t)
	return s
}

func (s *cutScene) all() []*Thread { return []*Thread{s.to, s.ta, s.tw, s.tr} }

func (s *cutScene) meet(t *testing.T) {
	for range 2 {
		for _, x := range s.all() {
			for _, y := range s.all() {
				if x != y {
					mustPull(t, x, y)
				}
			}
		}
	}
}

func (s *cutScene) snapshot() clock.LogID { return s.to.graph.State().Checkpoints[0].Snapshot.Log }

func pruned(t *testing.T, th *Thread) int64 {
	t.Helper()
	n, err := th.Prune(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The device that cut deletes at once. Others keep what is covered for 30 days, over restarts
// too, or until the device of another owner or admin vouches.
func TestWhatIsCoveredIsKept(t *testing.T) {
	s := newCutScene(t)
	if n := pruned(t, s.to); n != 2 {
		t.Fatalf("the owner deleted %d records, want 2", n)
	}
	s.tw, s.tr = s.w.reopen(t, s.tw), s.r.reopen(t, s.tr)
	for i, th := range []*Thread{s.ta, s.tw, s.tr} {
		if th.PruneDue() || pruned(t, th) != 0 {
			t.Errorf("%d deletes what it has to keep", i)
		}
		left := time.Until(th.Kept().Until)
		if len(th.Kept().Objections) > 0 || left < KeepFor-time.Minute || left > KeepFor {
			t.Errorf("%d keeps it for %v", i, left)
		}
		if counted := th.Counts().Records; counted < 3 {
			t.Errorf("%d has %d records", i, counted)
		}
	}
	// A writer's word is none, nor is the maker's own.
	if err := s.tw.Vouch(t.Context(), s.snapshot(), true, clock.Hash{}); err != nil {
		t.Fatal(err)
	}
	if err := s.to.Vouch(t.Context(), s.snapshot(), true, clock.Hash{}); err != nil {
		t.Fatal(err)
	}
	s.meet(t)
	if s.tr.PruneDue() {
		t.Error("a relay deletes without the word of a second owner or admin")
	}
	if err := s.ta.Vouch(t.Context(), s.snapshot(), true, clock.Hash{}); err != nil {
		t.Fatal(err)
	}
	records := s.ta.ControlRecords()
	if err := s.ta.Vouch(t.Context(), s.snapshot(), true, clock.Hash{}); err != nil || s.ta.ControlRecords() != records {
		t.Errorf("it vouches twice: %v", err)
	}
	s.meet(t)
	for i, th := range []*Thread{s.ta, s.tw, s.tr} {
		if !th.PruneDue() || pruned(t, th) != 2 || th.PruneDue() || !th.Kept().Until.IsZero() {
			t.Errorf("%d keeps what was vouched for", i)
		}
	}
}

// What is covered is deleted after 30 days by the clock here; an earlier checkpoint's while a
// later one's is kept.
func TestWhatIsCoveredIsDeletedInTime(t *testing.T) {
	s := newCutScene(t)
	longAgo(s.tw)
	first := s.tw.graph.State().Checkpoints[0].ID
	s.o.write(t, s.to, "three")
	s.meet(t)
	cutHistory(t, s.to, "T")
	s.meet(t)
	if !s.tw.PruneDue() {
		t.Fatal("nothing is due")
	}
	if n := pruned(t, s.tw); n != 2 || !s.tw.prunedOf[first] || s.tw.PruneDue() {
		t.Fatalf("%d records are deleted, want the 2 of the first checkpoint", n)
	}
	wantCounted(t, s.tw, "T")
	s.tw = s.w.reopen(t, s.tw)
	wantCounted(t, s.tw, "T")
	longAgo(s.tw)
	if n := pruned(t, s.tw); n != 2 { // and the first snapshot
		t.Fatalf("%d records are deleted later, want 2", n)
	}
	wantCounted(t, s.tw, "T")
	s.meet(t)
}

// One objection stops all deletion, whoever vouches, until a later checkpoint settles it or who
// objects decides nothing any more.
func TestObjectionsStopDeletion(t *testing.T) {
	s := newCutScene(t)
	for _, agree := range []bool{true, false} { // the last word of a device is that it objects
		records := s.ta.ControlRecords()
		if err := s.ta.Vouch(t.Context(), s.snapshot(), false, clock.Hash{1}); err != nil {
			t.Fatal(err)
		}
		if !agree && s.ta.ControlRecords() != records {
			t.Error("it objects twice")
		}
	}
	s.meet(t)
	for i, th := range s.all() {
		longAgo(th)
		if k := th.Kept(); th.PruneDue() || pruned(t, th) != 0 || len(k.Objections) != 1 || k.Objections[0].Device != s.a.env.self() {
			t.Errorf("%d deletes against an objection: %+v", i, k)
		}
	}
	first := s.snapshot()
	// Another checkpoint: nothing is deleted before who objected agrees, or its time has come.
	s.o.write(t, s.to, "three")
	s.meet(t)
	cutHistory(t, s.to, "T")
	s.meet(t)
	if s.to.PruneDue() || s.tr.PruneDue() {
		t.Error("the next checkpoint settles the objection before its author spoke")
	}
	var second clock.LogID
	for _, c := range s.to.graph.State().Checkpoints {
		if c.Snapshot.Log != first {
			second = c.Snapshot.Log
		}
	}
	if err := s.ta.Vouch(t.Context(), second, true, clock.Hash{}); err != nil {
		t.Fatal(err)
	}
	s.meet(t)
	for i, th := range s.all() {
		if len(th.Kept().Objections) > 0 || !th.PruneDue() || pruned(t, th) == 0 {
			t.Errorf("%d still keeps everything: %+v", i, th.Kept())
		}
		if !th.relay {
			wantCounted(t, th, "T")
		}
	}
}

// Who is removed objects no more.
func TestObjectionOfTheRemoved(t *testing.T) {
	s := newCutScene(t)
	if err := s.ta.Vouch(t.Context(), s.snapshot(), false, clock.Hash{1}); err != nil {
		t.Fatal(err)
	}
	s.meet(t)
	longAgo(s.tw)
	if s.tw.PruneDue() {
		t.Fatal("an objection stops nothing")
	}
	if err := s.to.RemoveMember(t.Context(), s.a.env.self()); err != nil {
		t.Fatal(err)
	}
	mustPull(t, s.tw, s.to)
	if !s.tw.PruneDue() || pruned(t, s.tw) != 2 {
		t.Error("the objection of a removed device still stops deletion")
	}
}
