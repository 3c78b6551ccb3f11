package net

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/strangers"
	"github.com/weftdb/weft/net/internal/wire"
)

const (
	maxTags     = 1 << 17 // threads of one peer
	mdnsService = "_weft._udp"
)

// sayHello tells a connected peer the tags of all threads, again whenever they
// change, until ctx ends. A peer that does not speak the protocol is left alone.
func (h *Host) sayHello(ctx context.Context, r *remote) {
	for n := 0; ; n++ {
		err := h.sendTags(ctx, r)
		if ctx.Err() != nil {
			return
		}
		h.log.Debug("hello stream ended", "peer", r.id, "error", err)
		if _, alien := errors.AsType[multistream.ErrNotSupported[protocol.ID]](err); alien || !pause(ctx, n, r.greet) {
			return
		}
	}
}

// sendTags tells the tags on one stream until it ends. The peer sends nothing on
// it: a read that ends says that the stream did.
func (h *Host) sendTags(ctx context.Context, r *remote) error {
	s, err := h.OpenStream(ctx, r.id, protoHello)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	w := wire.NewWriter(s)
	dead := make(chan struct{})
	h.run(func() { // nothing comes; the read ends with the stream
		defer close(dead)
		_, _ = s.Read(make([]byte, 1))
	})
	defer func() { _ = s.Reset(); <-dead }()
	var sent [sha256.Size]byte
	for first := true; ; first = false {
		tags := h.tags(r.id)
		h.mu.Lock()
		again := r.again
		r.again = false
		h.mu.Unlock()
		if sum := sha256.Sum256(tags); first || again || sum != sent {
			if err := w.SendTags(tags); err != nil {
				return err
			}
			sent = sum
		}
		select {
		case <-r.greet:
		case <-dead:
			return errors.New("the peer closed the stream")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tags returns the sorted tags of the host's threads for one peer. A stranger is told
// only those that it named itself: not even how many there are.
func (h *Host) tags(p peer.ID) []byte {
	h.mu.Lock()
	all := make([]wire.Tag, 0, len(h.shares))
	r := h.peers[p]
	for id, s := range h.shares {
		if r != nil && (h.known(r) || r.shared[id]) {
			all = append(all, wire.TagOf(s.thread.ServiceKey(), id, h.ID(), p))
		}
	}
	h.mu.Unlock()
	return wire.JoinTags(all)
}

// serveHello reads a peer's tags as they change. Nothing is kept of those that name
// no thread of this host.
func (h *Host) serveHello(s network.Stream) {
	defer s.Reset() //nolint:errcheck // nothing is owed to the peer
	defer context.AfterFunc(h.ctx, func() { _ = s.Reset() })()
	r, p := strangers.Reader(s), s.Conn().RemotePeer()
	defer h.onlyHello(p, s)()
	_ = s.SetReadDeadline(time.Now().Add(requestTimeout))
	mine := tagBook{host: h, peer: p}
	found, n, looks := map[ThreadID]bool{}, 0, 0
	for {
		m, err := wire.Next[wire.Hello](r, strangers.FrameLimit(s, wire.MaxHello))
		if n += len(m.Tags) / wire.TagSize; err == nil && (len(m.Tags)%wire.TagSize != 0 || n > maxTags) {
			err = fault.Of(wire.ErrFrame, "%d bytes of tags, %d tags in all", len(m.Tags), n)
		}
		if err != nil {
			h.fault(p, err)
			return
		}
		mine.find(m.Tags, found)
		strangers.Answered(s)
		_ = s.SetReadDeadline(time.Time{})
		if !m.More {
			h.match(p, found)
			found, n, mine.tags = map[ThreadID]bool{}, 0, nil
			if looks++; looks > freeLooks && !h.Known(p) && !sleep(h.ctx, helloPace) {
				return
			}
		}
	}
}

// How often a stranger's tags are looked at, but for the first few times: each look
// takes the tags of all threads of this host.
const (
	helloPace = time.Second
	freeLooks = 16
)

// sleep waits; it reports false when ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A tagBook knows the tags of this host's threads for one peer.
type tagBook struct {
	host *Host
	peer peer.ID
	tags map[wire.Tag]ThreadID
}

// find adds the threads that tags name to found.
func (b *tagBook) find(tags []byte, found map[ThreadID]bool) {
	h := b.host
	h.mu.Lock()
	if b.tags == nil {
		b.tags = make(map[wire.Tag]ThreadID, len(h.shares))
		for id, s := range h.shares {
			b.tags[wire.TagOf(s.thread.ServiceKey(), id, h.ID(), b.peer)] = id
		}
	}
	h.mu.Unlock()
	for t := range slices.Chunk(tags, wire.TagSize) {
		if id, ok := b.tags[wire.Tag(t)]; ok {
			found[id] = true
		}
	}
}

// onlyHello ends an earlier stream of the peer, so that it has one at a time.
func (h *Host) onlyHello(p peer.ID, s network.Stream) (end func()) {
	h.mu.Lock()
	r := h.remote(p)
	before := r.hello
	r.hello = s
	h.mu.Unlock()
	if before != nil {
		_ = before.Reset()
	}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if r.hello == s {
			r.hello = nil
		}
	}
}

// match takes the threads that a peer announced and starts to exchange them. A peer
// whose hello names what it did not name before is greeted again: it may have told
// us of them before we had them, and we it before it had them.
func (h *Host) match(p peer.ID, found map[ThreadID]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.remote(p)
	if r.conn == nil {
		return // it is gone
	}
	for id := range found {
		if !r.shared[id] {
			h.greetAgain(r)
			break
		}
	}
	r.shared, r.shy = found, time.Time{}
	r.greetings++
	for _, s := range h.shares {
		s.meet(r)
	}
}

// meet looks whether the peer announced the thread. Members are kept connected.
// The caller holds host.mu.
func (s *share) meet(r *remote) {
	shared := r.shared[s.thread.ID()]
	if !shared && s.links[r.id] == nil {
		return
	}
	l := s.link(r.id)
	l.shared = shared
	if shared && !s.relay && r.conn != nil && s.members[r.device] && (r.dialing || s.host.kept() < maxKept) {
		s.host.keepConnected(r, nil)
		if err := s.host.rememberPeer(r.id); err != nil {
			s.host.log.Warn("peer is not remembered", "peer", r.id, "error", err)
		}
	}
	l.adjust()
}

// announceThreads tells every connected peer that the set of threads changed.
// The caller holds h.mu.
func (h *Host) announceThreads() {
	for _, r := range h.peers {
		poke(r.greet)
		poke(r.ask)
	}
}
