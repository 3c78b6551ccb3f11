package control

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// A crowd is the control records of an owner, and of others who join by one invite and
// know of nobody but the owner.
type crowd struct {
	thread  format.ThreadID
	genesis *format.Genesis
	invite  *keys.Identity
	owner   []Record // open, invite, and its end if it was revoked
	joins   []Record
}

func newCrowd(tb testing.TB, n int, revoked bool) *crowd {
	tb.Helper()
	c := &crowd{thread: format.ThreadID{1}, invite: keys.NewIdentity()}
	cert, device := c.newDevice(tb)
	desc := format.NewDescriptor(device, format.KindControl, clock.LogID{})
	log := desc.LogID(c.thread)
	c.genesis = &format.Genesis{Owner: cert.Identity, Certificate: cert, Time: 1}
	says := []*format.Control{
		{Op: format.OpOpen, Name: "n"},
		{Op: format.OpInvite, Key: c.invite.Public(), Role: format.RoleWriter},
	}
	if revoked {
		says = append(says, &format.Control{Op: format.OpClose, Invite: c.recordID(log, 2, 1).Hash})
	}
	for i, p := range says {
		r := Record{ID: c.recordID(log, uint64(i+1), i), Time: clock.Time(10 + i), Device: device, Payload: p}
		if i > 0 {
			r.Parents = []clock.Hash{c.owner[i-1].ID.Hash}
		}
		c.owner = append(c.owner, r)
	}
	for i := range n {
		c.joins = append(c.joins, c.join(tb, i, []clock.Hash{c.owner[1].ID.Hash}))
	}
	return c
}

func (c *crowd) newDevice(tb testing.TB) (*keys.Certificate, keys.PublicKey) {
	d := keys.NewDevice()
	cert, err := keys.NewIdentity().Certify(d.Public(), keys.CertifyOptions{Issued: time.Unix(1, 0)})
	if err != nil {
		tb.Fatal(err)
	}
	return cert, d.Public().Sign
}

func (*crowd) recordID(log clock.LogID, seq uint64, n int) clock.RecordID {
	h := clock.Hash{byte(n), byte(n >> 8), byte(n >> 16)}
	binary.BigEndian.PutUint64(h[8:], seq)
	copy(h[16:], log[:])
	return clock.RecordID{Log: log, Seq: seq, Hash: h}
}

// join is the n-th join, of a device of its own.
func (c *crowd) join(tb testing.TB, n int, parents []clock.Hash) Record {
	cert, device := c.newDevice(tb)
	desc := format.NewDescriptor(device, format.KindControl, clock.LogID{})
	log := desc.LogID(c.thread)
	b, err := cert.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	data := format.NewDescriptor(device, format.KindData, log)
	p := &format.Control{Op: format.OpJoin, Invite: c.owner[1].ID.Hash, Certificate: b, Data: data.Encode()}
	p.Signature = c.invite.Sign(format.DomainJoin, c.thread[:], log[:], b, p.Data)
	return Record{ID: c.recordID(log, 1, n), Time: clock.Time(1000 + n), Device: device, Parents: parents, Payload: p}
}

// graph is what a replica has that holds the owner's records.
func (c *crowd) graph(tb testing.TB) *Graph {
	g := New(c.thread, c.genesis)
	for _, r := range c.owner {
		add(tb, g, r)
	}
	return g
}

func add(tb testing.TB, g *Graph, c Record) {
	tb.Helper()
	if err := g.Check(&c); err != nil {
		tb.Fatal(err)
	}
	g.Add(&c)
}

// However many heads others make, an honest join names its invite.
func TestUselessJoinsKeepNobodyOut(t *testing.T) {
	c := newCrowd(t, 48, false)
	g := c.graph(t)
	for _, j := range c.joins {
		add(t, g, j)
	}
	named := g.NamedInJoin(c.owner[1].ID.Hash)
	if len(named) > format.MaxControlHeads || !slices.IsSortedFunc(named, format.CompareHashes) {
		t.Fatalf("%d heads, sorted %v", len(named), slices.IsSortedFunc(named, format.CompareHashes))
	}
	j := c.join(t, 100, named)
	add(t, g, j)
	if g.State().Members[j.Device] == nil {
		t.Error("the honest join did not hold")
	}
}

// A join is not verified again when it is loaded. One whose certificate the disk altered
// lets nobody in.
func TestLoadedJoinWithoutCertificate(t *testing.T) {
	c := newCrowd(t, 1, false)
	var all []*Record
	for _, r := range append(slices.Clone(c.owner), c.joins...) {
		all = append(all, &r)
	}
	join := *all[len(all)-1].Payload
	join.Certificate = join.Certificate[1:]
	all[len(all)-1].Payload = &join
	g := New(c.thread, c.genesis)
	if err := g.AddAll(all); err != nil {
		t.Fatal(err)
	}
	if s := g.State(); len(s.Members) != 1 || len(s.Refused) != 1 {
		t.Errorf("members %v, refused %v", s.Members, s.Refused)
	}
}

// Joins by an invite that was revoked cost what there are of them.
func BenchmarkUselessJoins(b *testing.B) {
	for _, n := range []int{150, 1500, 10_000} {
		c := newCrowd(b, n, true)
		b.Run(fmt.Sprintf("open/%d", n), func(b *testing.B) {
			all := c.graph(b).records
			for _, j := range c.joins {
				all = append(all, &j)
			}
			for b.Loop() {
				g := New(c.thread, c.genesis)
				if err := g.AddAll(slices.Clone(all)); err != nil {
					b.Fatal(err)
				}
				if len(g.State().Members) == 0 {
					b.Fatal("no member")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/join")
		})
		b.Run(fmt.Sprintf("taken/%d", n), func(b *testing.B) {
			for b.Loop() {
				g := c.graph(b)
				for _, j := range c.joins { // each by itself, and the members are asked for
					j.checked = false
					add(b, g, j)
					_ = g.State()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/join")
		})
	}
}
