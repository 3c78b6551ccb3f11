package thread

import (
	"errors"
	"fmt"
	"testing"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/format"
)

// After more than 1,024 rotations a thread opens again, though no array may be as long.
func TestAttackManyKeysReopen(t *testing.T) {
	c := newClub(t, 1)
	o := c.threads[0]
	for range 1030 {
		must(t, o.Rotate(t.Context()))
	}
	o.Close()
	if _, err := Open(t.Context(), c.nodes[0].env, o.id); err != nil {
		t.Errorf("the owner's thread does not open: %v", err)
	}
}

// A writer forks its data log 1,100 times. Who removes it writes a record that others decode,
// and opens again.
func TestAttackManyBranchesRemoval(t *testing.T) {
	c := newClub(t, 2)
	o, x, b := c.threads[0], c.threads[1], c.threads[2]
	f := secondForger(t, c)
	key := readKey(t, x)
	seq, prev, at := f.seq, f.prev, f.time
	for i := range 1100 {
		f.seq, f.prev, f.time = seq, prev, at+clock.Time(i)
		if _, err := o.Ingest(t.Context(), f.run(f.record(t, key, "y", nil))); err != nil {
			t.Fatal(err)
		}
	}
	o.Flushed(o.lastArrival())
	must(t, o.RemoveMember(t.Context(), c.identity(1)))
	must(t, o.settleSync())
	for _, tip := range o.Sendable() {
		if tip.Log == o.ownControl.ID {
			if err := pullLog(t.Context(), b, o, tip, 1<<20); err != nil {
				t.Errorf("b takes nothing of the owner any more: %v", err)
			}
		}
	}
	if _, ok := b.Member(c.device(1)); ok {
		t.Error("x is still a member for b")
	}
	o.Close()
	if _, err := Open(t.Context(), c.nodes[0].env, o.id); err != nil {
		t.Errorf("the owner's thread does not open: %v", err)
	}
}

// What an admin says of another member is refused by who heard first that the admin was
// removed, by a removal that turns out void: it is asked for again.
func TestAttackRefusedOfRevived(t *testing.T) {
	c := newClub(t, 4)
	o, p, q, b := c.threads[0], c.threads[1], c.threads[2], c.threads[4]
	must(t, o.SetRole(t.Context(), c.identity(1), format.RoleOwner))
	must(t, o.SetRole(t.Context(), c.identity(2), format.RoleOwner))
	c.meet(t)
	must(t, q.SetRole(t.Context(), c.identity(3), format.RoleReader))
	must(t, p.RemoveMember(t.Context(), c.identity(2)))
	must(t, o.SetRole(t.Context(), c.identity(1), format.RoleReader))
	mustPull(t, b, p)
	tryPull(t, b, q) // refused: q is removed, here
	again := b.Revived()
	mustPull(t, b, o)
	if _, ok := b.Member(c.device(2)); !ok {
		t.Fatal("q is no member")
	}
	select {
	case <-again:
	default:
		t.Error("what was refused of q is not asked for again")
	}
}

// Two transfers on two branches of a restored owner's log: the successor's checkpoint has no
// force any more, for who runs as for who restarts.
func TestAttackCheckpointWithoutForce(t *testing.T) {
	w := newTwoTransfers(t)
	w.exchange(t)
	w.sameMembers(t, "while nobody writes")
	w.z.write(t, w.tz, "names it")
	w.exchange(t)
	w.sameMembers(t, "when a member wrote")
	w.sameAfterRestart(t)
}

// The same where a member names the second transfer at once.
func TestAttackCheckpointWithoutForceRestart(t *testing.T) {
	w := newTwoTransfers(t)
	w.z.write(t, w.tz, "names it")
	w.exchange(t)
	w.sameMembers(t, "when a member wrote")
	w.sameAfterRestart(t)
}

// twoTransfers is a device b that heard of a transfer and holds a checkpoint of the
// successor, and a device z that heard only of the transfer by a restored copy.
type twoTransfers struct {
	b, z   *testNode
	tb, tz *Thread
}

func newTwoTransfers(t *testing.T) *twoTransfers {
	t.Helper()
	o, p, b, z, backup := newTestNode(t), newMemoryNode(t), newTestNode(t), newMemoryNode(t), t.TempDir()
	to := o.create(t)
	inv := o.invite(t, to, InviteOptions{Uses: -1})
	tp := p.join(t, to, inv)
	tb := b.join(t, to, inv)
	tz := z.join(t, to, inv)
	mustPull(t, to, tp)
	mustPull(t, to, tb)
	mustPull(t, to, tz)
	mustPull(t, tz, to)
	copyStore(t, o.env.store, backup)
	must(t, to.Transfer(t.Context(), p.env.cert.Identity))
	mustPull(t, tp, to)
	p.write(t, tp, "one")
	cutHistory(t, tp, "S")
	mustPull(t, tb, tp)
	wantCounted(t, tb, "S")
	r := openTestNode(t, backup, o.env.device, o.env.cert)
	copied, err := Open(t.Context(), r.env, to.id)
	must(t, err)
	opened(t, copied)
	must(t, copied.Transfer(t.Context(), b.env.cert.Identity))
	mustPull(t, tz, copied) // it hears of the second transfer alone
	return &twoTransfers{b, z, tb, tz}
}

func (w *twoTransfers) exchange(t *testing.T) {
	t.Helper()
	for range 3 {
		tryPull(t, w.tb, w.tz)
		tryPull(t, w.tz, w.tb)
	}
}

func (w *twoTransfers) sameMembers(t *testing.T, when string) {
	t.Helper()
	if x, y := memberTexts(w.tb.Members()), memberTexts(w.tz.Members()); fmt.Sprint(x) != fmt.Sprint(y) {
		t.Errorf("%s members differ: %v, %v", when, x, y)
	}
}

func (w *twoTransfers) sameAfterRestart(t *testing.T) {
	t.Helper()
	before := counted(t, w.tb)
	w.tb = w.b.again(t, w.tb)
	after := counted(t, w.tb)
	if len(before) != len(after) || len(before) > 0 && before[0] != after[0] {
		t.Errorf("before a restart %q counts, after it %q", before, after)
	}
}

// A run that goes beyond what a removal has seen would be cut in the middle of what its
// signature covers: a relay that heard it so still gives the data that counts to members.
func TestAttackCutRunIsUnsigned(t *testing.T) {
	c := newClub(t, 1)
	o, x := c.threads[0], c.threads[1]
	c.write(t, 1, "counts 1")
	c.write(t, 1, "counts 2")
	c.meet(t)
	must(t, o.RemoveMember(t.Context(), c.identity(1)))
	c.write(t, 1, "late")
	relay := newMemoryNode(t).adopt(t, o)
	must(t, o.settleSync())
	for _, tip := range o.Sendable() { // control logs go first
		if o.IsControl(tip.Log) {
			must(t, pullLog(t.Context(), relay, o, tip, 1<<20))
		}
	}
	tryPull(t, relay, x) // then the device that knows of nothing
	tryPull(t, relay, o)
	n := newMemoryNode(t)
	inv := c.nodes[0].invite(t, o, InviteOptions{})
	tryPull(t, relay, o)
	th := n.join(t, relay, inv)
	tryPull(t, th, relay)
	if got := payloads(t, th); len(got) != 2 {
		t.Errorf("by the relay a member has %q", got)
	}
}

// A head of its own log that is not signed, named by who is then removed: what is offered of
// the log can be sent.
func TestAttackUnsignedTopBreaksFeeds(t *testing.T) {
	c := newClub(t, 2)
	o, x, b := c.threads[0], c.threads[1], c.threads[2]
	c.write(t, 1, "open the log")
	f := forgerOf(x)
	key := readKey(t, x)
	var rs []format.Record
	var mid clock.RecordID
	for i := range 3 {
		rs = append(rs, f.record(t, key, fmt.Sprint(i), nil))
		if i == 1 {
			mid = clock.RecordID{Log: x.ownData.ID, Seq: f.seq, Hash: f.prev}
		}
	}
	mustPull(t, b, x)
	if _, err := b.Ingest(t.Context(), f.run(rs...)); err != nil { // b alone has them
		t.Fatal(err)
	}
	_, err := x.appendControl(t.Context(), &format.Control{Op: format.OpRemove, Subject: x.env.self(), View: []clock.RecordID{mid}})
	must(t, err)
	must(t, x.settleSync())
	for _, tip := range x.Sendable() {
		if x.IsControl(tip.Log) {
			must(t, pullLog(t.Context(), o, x, tip, 1<<20))
		}
	}
	must(t, o.RemoveMember(t.Context(), c.identity(1)))
	mustPull(t, b, o)
	must(t, b.settleSync())
	for _, tip := range b.Sendable() {
		r, err := b.ReadRun(tip, 0, 1<<20)
		if err != nil || len(r.Records) == 0 {
			t.Errorf("b offers %v and has %d records to send of it, %v", tip, len(r.Records), err)
			continue
		}
		if last, err := r.Last(b.id); err != nil || last.Seq != tip.Seq && last.Log == mid.Log {
			t.Errorf("b offers %v and can send up to %v, for ever", tip, last)
		}
	}
}

var _ = errors.Is
