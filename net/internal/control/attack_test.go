package control

import (
	"errors"
	"slices"
	"testing"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/format"
)

// Whoever has the secret of an invite of two uses makes joins whose hashes come first,
// and voids nobody: who was let in before stays, and the forged ones wait.
func TestAttackForgedJoins(t *testing.T) {
	c := newCrowd(t, 200, false)
	invite := c.owner[1].ID.Hash
	honest := c.joins[len(c.joins)-2:]
	for i := range honest {
		honest[i].ID.Hash[0] = 0xff // last by hash
	}
	listed := []clock.Hash{honest[0].ID.Hash, honest[1].ID.Hash}
	slices.SortFunc(listed, format.CompareHashes)
	g := c.graph(t)
	for _, j := range honest {
		add(t, g, j)
	}
	closing := Record{
		ID: c.recordID(c.owner[0].ID.Log, 3, 3), Time: 1 << 40, Device: c.owner[0].Device,
		Parents: []clock.Hash{invite}, Payload: &format.Control{Op: format.OpClose, Invite: invite, Joins: listed},
	}
	forged := c.joins[:len(c.joins)-2]
	for i, j := range forged {
		if i == len(forged)/2 {
			add(t, g, closing)
		}
		add(t, g, j)
	}
	s := g.State()
	if len(s.Members) != 3 || len(s.Waiting) != len(forged) {
		t.Fatalf("%d members, %d wait", len(s.Members), len(s.Waiting))
	}
	for _, j := range forged {
		if len(g.Rights(j.announcedLog(t, g))) != 0 {
			t.Fatal("what the device of a forged join writes counts")
		}
	}
	for _, j := range honest {
		if s.Members[j.Device] == nil {
			t.Error("an honest member is void")
		}
	}
}

// A member that joins again, by the same invite under another identity or log, does not
// void its own first join, nor what it wrote.
func TestAttackOwnJoinVoided(t *testing.T) {
	c := newCrowd(t, 2, false)
	first, second := c.joins[0], c.joins[1]
	second.Device, second.ID.Hash = first.Device, clock.Hash{} // first by hash
	second.Time = first.Time - 1                               // and by clock
	second.checked = true                                      // its signatures are of the other device
	g := c.graph(t)
	first.ID.Hash[0] = 0xff
	add(t, g, first)
	add(t, g, second)
	log := first.announcedLog(t, g)
	if len(g.Rights(log)) != 1 {
		t.Fatal("the first join does not stand")
	}
	closing := Record{
		ID: c.recordID(c.owner[0].ID.Log, 3, 3), Time: 1 << 40, Device: c.owner[0].Device, Parents: []clock.Hash{c.owner[1].ID.Hash},
		Payload: &format.Control{Op: format.OpClose, Invite: c.owner[1].ID.Hash, Joins: []clock.Hash{first.ID.Hash}},
	}
	add(t, g, closing)
	if len(g.Rights(log)) != 1 {
		t.Fatal("the first join does not stand once the invite is closed")
	}
}

// announcedLog is the data log that a record announces.
func (c *Record) announcedLog(t *testing.T, g *Graph) clock.LogID {
	t.Helper()
	log := format.LogIDOf(g.thread, c.Payload.Data)
	if _, known := g.ControlOf(log); !known {
		t.Fatal("the log is not announced")
	}
	return log
}

// Nobody becomes an admin or owner by an invite: whoever has its secret would.
func TestAttackInviteOfOwners(t *testing.T) {
	for _, role := range []format.Role{format.RoleOwner, format.RoleAdmin} {
		c := newCrowd(t, 2, false)
		c.owner[1].Payload.Role = role
		g := c.graph(t)
		for _, j := range c.joins {
			add(t, g, j)
		}
		if s := g.State(); len(s.Members) != 1 || len(s.Refused) != 3 {
			t.Fatalf("%s: %d members, refused %v", role, len(s.Members), s.Refused)
		}
		if _, err := g.OpenInvite(c.invite.Public(), 0); !errors.Is(err, ErrNoInvite) {
			t.Errorf("got %v of an invite of the role %s", err, role)
		}
	}
}
