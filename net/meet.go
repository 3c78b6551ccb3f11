package net

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/record"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/wire"
)

// Members that met only through a relay, or through a third member, get to know
// where the others are from it, and connect: when it goes, they go on.
//
//	a, b ── relay          each told the relay its addresses, in a record that it signed
//	relay ► b              on b's stream of a thread of both: the record of a
//	b                      a is a member by b's own control logs, the record is a's: dial
//	a ── b                 kept connected like any member
//
// Only members get records, and only those of members. Of many, each is told its
// neighbours in the order of peer IDs, taken as a ring: so the members stay one
// group while fewer than [wire.MaxMembers] in a row are gone.

const (
	maxKept        = 160 // members that a host keeps connected
	maxRecordAddrs = 32
)

// watchIdentities notes where peers say that they are, and tells the threads that they
// are members of.
func (h *Host) watchIdentities(sub event.Subscription) {
	defer sub.Close()
	for {
		select {
		case e, ok := <-sub.Out():
			if !ok {
				return
			}
			h.identified(e.(event.EvtPeerIdentificationCompleted))
		case <-h.ctx.Done():
			return
		}
	}
}

func (h *Host) identified(e event.EvtPeerIdentificationCompleted) {
	if e.SignedPeerRecord == nil {
		return
	}
	b, err := e.SignedPeerRecord.Marshal()
	if err != nil || len(b) > wire.MaxPeerRecord {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.lp.Network().Connectedness(e.Peer) != network.Connected {
		return
	}
	r := h.remote(e.Peer)
	r.record = b
	member := false
	for _, s := range h.shares {
		if s.members[r.device] {
			s.meeting.Ring()
			member = member || !s.relay && r.shared[s.thread.ID()]
		}
	}
	if member { // when it was met it may not have said yet where it can be dialled
		if err := h.rememberPeer(e.Peer); err != nil {
			h.log.Warn("peer is not remembered", "peer", e.Peer, "error", err)
		}
	}
}

// A neighbour is a connected member and where it says that it is.
type neighbour struct {
	peer   peer.ID
	record []byte
}

// neighbours returns the connected members that a member is told of: those after it
// in the ring.
func (s *share) neighbours(of peer.ID) []neighbour {
	h := s.host
	h.mu.Lock()
	var all []neighbour
	for p, r := range h.peers {
		if r.conn != nil && r.record != nil && p != of && s.members[r.device] {
			all = append(all, neighbour{p, r.record})
		}
	}
	h.mu.Unlock()
	slices.SortFunc(all, func(a, b neighbour) int { return cmp.Compare(a.peer, b.peer) })
	after, _ := slices.BinarySearchFunc(all, of, func(n neighbour, p peer.ID) int { return cmp.Compare(n.peer, p) })
	all = slices.Concat(all[after:], all[:after])
	return all[:min(len(all), wire.MaxMembers)]
}

// introduce tells the subscriber where other members are, as far as it was not told.
func (f *feed) introduce() error {
	sh := f.link.share
	if !sh.isMember(f.link.peer) {
		return nil
	}
	var m wire.Members
	for _, n := range sh.neighbours(f.link.peer) {
		if bytes.Equal(n.record, f.introduced[n.peer]) {
			continue
		}
		f.introduced[n.peer] = n.record
		m.Records = append(m.Records, n.record)
	}
	if len(m.Records) == 0 {
		return nil
	}
	return f.w.Send(m)
}

// meetMembers connects to the members that a peer said are somewhere: to those that
// this host knows as members, by what they signed themselves.
func (s *share) meetMembers(records [][]byte) error {
	h := s.host
	book, ok := peerstore.GetCertifiedAddrBook(h.lp.Peerstore())
	if !ok || s.relay {
		return nil
	}
	for _, b := range records {
		e, rec, err := record.ConsumeEnvelope(b, peer.PeerRecordEnvelopeDomain)
		if err != nil {
			return fault.Of(wire.ErrFrame, "the record of a member does not hold: %w", err)
		}
		at, ok := rec.(*peer.PeerRecord)
		if !ok || !at.PeerID.MatchesPublicKey(e.PublicKey) {
			return fault.Of(wire.ErrFrame, "the record of a member is not its own")
		}
		device, err := DeviceOf(at.PeerID)
		if err != nil || at.PeerID == h.ID() || len(at.Addrs) == 0 || len(at.Addrs) > maxRecordAddrs {
			continue
		}
		if _, member := s.thread.Member(device); !member {
			continue
		}
		if _, err := book.ConsumePeerRecord(e, peerstore.PermanentAddrTTL); err != nil {
			h.log.Debug("the record of a member is not kept", "peer", at.PeerID, "error", err)
			continue
		}
		h.mu.Lock()
		if h.kept() < maxKept && !h.closed {
			s.link(at.PeerID)
			h.keepConnected(h.remote(at.PeerID), nil)
		}
		h.mu.Unlock()
	}
	return nil
}

// kept returns how many members are kept connected. The caller holds h.mu.
func (h *Host) kept() (n int) {
	for _, r := range h.peers {
		if r.dialing && r.relay == nil {
			n++
		}
	}
	return n
}
