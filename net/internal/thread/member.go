package thread

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/format"
)

// What the fold of the control records says.
type (
	// A Member is a device that may take part in a thread.
	Member = control.Member
	// An InviteInfo is what members know of an invite.
	InviteInfo = control.InviteInfo
	// A WaitingJoin is a join that waits until an owner admits it.
	WaitingJoin = control.WaitingJoin
	// A Refusal is a record that is kept and has no effect.
	Refusal = control.Refusal
)

// Members returns the members by device, oldest first.
func (t *Thread) Members() []Member {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Member, 0, len(t.graph.State().Members))
	for _, m := range t.graph.State().Members {
		all = append(all, *m)
	}
	slices.SortFunc(all, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Since, b.Since), bytes.Compare(a.Device[:], b.Device[:]))
	})
	return all
}

// Member returns what the thread knows of a device.
func (t *Thread) Member(device keys.PublicKey) (Member, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.graph.State().Members[device]
	if !ok {
		return Member{}, false
	}
	return *m, true
}

// Writer returns the identity that a record of a data log was written by; ok is false if
// its log is no member's. It is the same on every replica that has the record.
func (t *Thread) Writer(id clock.RecordID) (identity keys.PublicKey, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.graph.Writers(id.Log)
	if len(all) == 1 {
		return all[0].Identity, true
	}
	l := t.logs[id.Log]
	if len(all) == 0 || l == nil {
		return identity, false
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	s, err := t.rows.Record(snap, l.Num, id)
	if err != nil {
		return identity, false
	}
	h, err := format.DecodeHeader(s.Header)
	if err != nil {
		return identity, false
	}
	for i := range all { // its device has two identities: it is of that whose first record it names
		if all[i].Of(h.Control) {
			return all[i].Identity, true
		}
	}
	return identity, false
}

// Former returns the identity of a device that was a member and is none any more.
func (t *Thread) Former(device keys.PublicKey) (identity keys.PublicKey, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.graph.Former(device)
}

// UntilEnd returns the last positions of control logs that a former member is given, so
// that it hears how its membership ended: nothing that came after, but for what one
// signature covers with it.
func (t *Thread) UntilEnd(device keys.PublicKey) (ends []clock.RecordID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	snap := t.env.store.Snapshot()
	defer snap.Release()
	for _, id := range t.graph.UntilEnd(device) {
		l := t.logs[id.Log]
		for i := 0; l != nil && i < len(l.Branches); i++ {
			if sent := l.Branches[i].Sent; sent.Seq >= id.Seq {
				at, ok, err := t.rows.SignedFrom(snap, &l.Log, l.Forked(), sent, id)
				if err != nil {
					t.env.log.Error("reading the end of a membership", "thread", t.id.String(), "log", id.Log.Short(), "err", err)
				} else if ok {
					ends = append(ends, at)
					break
				}
			}
		}
	}
	slices.SortFunc(ends, format.CompareIDs)
	return slices.Compact(ends)
}

// Device returns the key of this host's device in the thread: the host's own, or that which a hub
// has for the thread's owner.
func (t *Thread) Device() keys.PublicKey { return t.env.self() }

// Self returns the identity of this device, as others see it in the thread.
func (t *Thread) Self() (identity keys.PublicKey) {
	if m, ok := t.Member(t.env.self()); ok {
		return m.Identity
	}
	if t.env.cert != nil {
		return t.env.cert.Identity
	}
	return identity
}
