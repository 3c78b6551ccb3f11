package net

import (
	"bufio"
	"sync/atomic"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"

	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/wire"
)

// A lie is what a peer sends instead of honest runs, of which it is given all.
type lie func(t *testing.T, w *wire.Writer, runs []format.Run)

// allRuns returns the whole of a thread, control logs first, in runs that end at
// each record.
func allRuns(t *testing.T, th *Thread) (runs []format.Run) {
	t.Helper()
	for _, control := range []bool{true, false} {
		for _, tip := range th.held().Sendable() {
			for after := uint64(0); th.held().IsControl(tip.Log) == control && after < tip.Seq; {
				r, err := th.held().ReadRun(tip, after, 1)
				if err != nil {
					t.Error(err)
					return nil
				}
				last, err := r.Last(th.ID())
				if err != nil {
					t.Error(err)
					return nil
				}
				runs = append(runs, r)
				after = last.Seq
			}
		}
	}
	return runs
}

// lies makes a peer answer every subscription with a lie. The channel is closed
// when it lied three times.
func (p *party) lies(t *testing.T, th *Thread, l lie) <-chan struct{} {
	told := make(chan struct{})
	var times atomic.Int32
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lanes[laneThread] = func(_ peer.ID, s stream) {
		defer s.Close()
		r := bufio.NewReader(s)
		if _, err := readRequest[wire.Subscribe](s, r, wire.MaxSubscribe); err != nil {
			return
		}
		w := wire.NewWriter(s)
		if w.Send(wire.Accepted{Genesis: th.Genesis(), Tips: wire.FromTips(th.held().Sendable())}) != nil {
			return
		}
		l(t, w, allRuns(t, th))
		if times.Add(1) == 3 {
			close(told)
		}
		for { // acks, until the other side has had enough
			if _, _, err := wire.Read(r); err != nil {
				return
			}
		}
	}
	return told
}

// A peer that lies is found out and disconnected; what it said that was true is
// kept, and an honest peer brings the rest.
func TestLyingPeer(t *testing.T) {
	lies := map[string]lie{
		"swapped bodies": func(t *testing.T, w *wire.Writer, runs []format.Run) {
			n := len(runs)
			runs[n-1].Records[0].Body, runs[n-2].Records[0].Body = runs[n-2].Records[0].Body, runs[n-1].Records[0].Body
			sendRuns(w, runs)
			sendRuns(w, runs)
		},
		"forged signature": func(t *testing.T, w *wire.Writer, runs []format.Run) {
			for i := range runs {
				if i >= len(runs)-4 {
					runs[i].Signature[3] ^= 1
				}
			}
			sendRuns(w, runs)
		},
		"re-ordered": func(t *testing.T, w *wire.Writer, runs []format.Run) {
			last := runs[len(runs)-1] // of one record or of all four
			last.Records = last.Records[len(last.Records)-1:]
			for range 3 {
				sendRuns(w, []format.Run{last})
			}
		},
		"replayed under another log": func(t *testing.T, w *wire.Writer, runs []format.Run) {
			n := len(runs)
			for i := n - 4; i < n; i++ {
				runs[i].Descriptor = runs[0].Descriptor
			}
			sendRuns(w, runs)
		},
		"invented": func(t *testing.T, w *wire.Writer, runs []format.Run) {
			d := keys.NewDevice()
			for i := len(runs) - 4; i < len(runs); i++ {
				runs[i].Records[0].Body = append([]byte(nil), runs[i].Records[0].Body...)
				runs[i].Records[0].Body[len(runs[i].Records[0].Body)-1] ^= 1
				runs[i].Signature = d.Sign("weft/1/head", runs[i].Records[0].Header)
			}
			sendRuns(w, runs)
		},
		"garbage": func(t *testing.T, w *wire.Writer, runs []format.Run) {
			_ = w.SendRaw(wire.KindRun, []byte("not a run at all"))
		},
		"unknown frame": func(t *testing.T, w *wire.Writer, runs []format.Run) {
			_ = w.SendRaw(99, []byte{1})
		},
	}
	for name, l := range lies {
		t.Run(name, func(t *testing.T) {
			liar, honest, victim := newParty(t), newParty(t), newParty(t)
			tl := liar.create(t)
			honest.connect(t, liar)
			th := honest.join(t, tl)
			victim.connect(t, liar)
			tv := victim.join(t, tl)
			write(t, honest, th, 3)
			identical(t, th, liar.ID())
			identical(t, tl, victim.ID(), honest.ID())
			before := tv.held().Tips()
			victim.halt(t)
			write(t, honest, th, 4)
			identical(t, th, liar.ID())
			honest.halt(t) // the victim meets nobody but the liar
			told := liar.lies(t, tl, l)
			victim.start(t) // it dials the liar, whom it remembers
			if tv = victim.open(t, tl.ID()); name == "re-ordered" {
				wait(t, told, "the victim did not ask again") // may be a mistake: not a fault
			} else {
				wait(t, disconnected(victim, liar), "the liar was not disconnected")
			}
			for _, tip := range tv.held().Tips() {
				if !tl.held().Has(tip) {
					t.Errorf("the victim holds %v, which nobody wrote", tip)
				}
			}
			for _, tip := range before {
				if !tv.held().Has(tip) {
					t.Errorf("the victim lost %v", tip)
				}
			}
			honest.start(t)
			th = honest.open(t, tl.ID())
			victim.connect(t, honest)
			identical(t, th, victim.ID())
			same(t, th, tv)
		})
	}
}

func sendRuns(w *wire.Writer, runs []format.Run) {
	for _, r := range runs {
		if w.SendRun(r) != nil {
			return // disconnected, as it should be
		}
	}
}

// disconnected returns a channel that is closed when a has banned b.
func disconnected(a, b *party) <-chan struct{} {
	c := make(chan struct{})
	ctx, id := a.ctx, b.ID()
	go func() {
		for {
			changed := a.banned.Wait()
			a.mu.Lock()
			r := a.peers[id]
			banned := r != nil && !r.banned.IsZero()
			a.mu.Unlock()
			if banned {
				close(c)
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return c
}

func wait(t *testing.T, c <-chan struct{}, otherwise string) {
	t.Helper()
	select {
	case <-c:
	case <-within(t).Done():
		t.Fatal(otherwise)
	}
}

// Whoever mints device keys does not fill the memory; peers that matter stay.
func TestStrangersAreForgotten(t *testing.T) {
	p, member := newParty(t), newParty(t)
	th := p.create(t)
	member.connect(t, p)
	member.join(t, th)
	identical(t, th, member.ID())
	p.mu.Lock()
	defer p.mu.Unlock()
	for range 3 * rememberedPeers {
		id, err := PeerOf(keys.NewDevice().Public().Sign)
		if err != nil {
			t.Fatal(err)
		}
		p.remote(id)
		p.shares[th.ID()].link(id)
	}
	if n := len(p.peers); n > 2*rememberedPeers {
		t.Errorf("got %d peers, want at most %d", n, 2*rememberedPeers)
	}
	if n := len(p.shares[th.ID()].links); n > 2*rememberedPeers {
		t.Errorf("got %d links", n)
	}
	if p.peers[member.ID()] == nil || p.shares[th.ID()].links[member.ID()] == nil {
		t.Error("a member was forgotten")
	}
}

// showsOf answers subscriptions with the control logs of a thread of another.
func (p *party) showsOf(th *Thread) func(network.Stream) {
	return func(s network.Stream) {
		defer s.Close()
		r := bufio.NewReader(s)
		if _, err := readRequest[wire.Subscribe](s, r, wire.MaxSubscribe); err != nil {
			return
		}
		w := wire.NewWriter(s)
		if w.Send(wire.Accepted{Genesis: th.Genesis(), Tips: wire.FromTips(th.held().Sendable())}) != nil {
			return
		}
		for _, tip := range th.held().Sendable() {
			if !th.held().IsControl(tip.Log) {
				continue
			}
			if run, err := th.held().ReadRun(tip, 0, 1<<20); err == nil {
				_ = w.SendRun(run)
			}
		}
		now := th.share.statement()
		_ = w.Send(now.wire())
		_, _, _ = wire.Read(r)
	}
}

// record returns what a host says of where it is.
func recordOf(t *testing.T, p *party) []byte {
	t.Helper()
	book, ok := peerstore.GetCertifiedAddrBook(p.lp.Peerstore())
	if !ok {
		t.Fatal("no book of records")
	}
	b, err := book.GetPeerRecord(p.ID()).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}
