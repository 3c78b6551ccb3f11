package net

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/net/internal/tipset"
	"github.com/weftdb/weft/net/internal/wire"
)

// Paces of announcements.
const (
	announceEvery = time.Second // at most one a thread in this time
	dialEvery     = 10 * time.Second
)

// A gossip tells peers that are not directly connected that a thread has grown.
// It only announces; records travel on direct streams.
type gossip struct {
	ps     *pubsub.PubSub
	cancel context.CancelFunc
}

func (h *Host) startGossip() error {
	ctx, cancel := context.WithCancel(h.ctx)
	params := pubsub.DefaultGossipSubParams()
	ps, err := pubsub.NewGossipSub(ctx, h.lp,
		pubsub.WithGossipSubParams(params),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithMessageIdFn(func(m *pb.Message) string { d := sha256.Sum256(m.GetData()); return string(d[:]) }),
		pubsub.WithMaxMessageSize(64<<10),
		pubsub.WithPeerOutboundQueueSize(32),
		pubsub.WithSubscriptionFilter(topicFilter{h}),
	)
	if err != nil {
		cancel()
		return fmt.Errorf("start gossip: %w", err)
	}
	h.gossip = &gossip{ps: ps, cancel: cancel}
	return nil
}

// Topics that are remembered of one peer. A topic is named by a key, so that which
// ones a stranger names says nothing; their number is what it can choose.
const (
	topicsOfPeer  = 4096
	topicsOfGuest = 64
)

// A topicFilter bounds what is remembered of the topics that peers subscribe to.
type topicFilter struct{ host *Host }

// CanSubscribe reports whether a topic has the form of ours.
func (topicFilter) CanSubscribe(topic string) bool { return wire.IsTopic(topic) }

// FilterIncomingSubscriptions returns those of a peer's subscriptions that are taken.
func (f topicFilter) FilterIncomingSubscriptions(p peer.ID, subs []*pb.RPC_SubOpts) ([]*pb.RPC_SubOpts, error) {
	h := f.host
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.peers[p]
	if r == nil { // its connection is not noted yet, or is gone
		subs = pubsub.FilterSubscriptions(subs, f.CanSubscribe)
		return subs[:min(len(subs), topicsOfGuest)], nil
	}
	most := topicsOfPeer
	if !h.known(r) {
		most = topicsOfGuest
	}
	return slices.DeleteFunc(pubsub.FilterSubscriptions(subs, f.CanSubscribe), func(s *pb.RPC_SubOpts) bool {
		switch t := s.GetTopicid(); {
		case !s.GetSubscribe():
			delete(r.topics, t)
		case r.topics[t]:
		case len(r.topics) >= most:
			return true
		default:
			r.topics[t] = true
		}
		return false
	}), nil
}

func (h *Host) closeGossip() {
	if h.gossip != nil {
		h.gossip.cancel()
	}
}

// announce follows the thread's topic until the share ends.
func (s *share) announce() {
	h := s.host
	if err := s.gossip(); err != nil && s.ctx.Err() == nil {
		h.log.Warn("thread is not announced", "thread", s.thread.ID(), "error", err)
	}
}

func (s *share) gossip() error {
	of, err := wire.TopicOf(s.thread.ServiceKey(), s.thread.ID())
	if err != nil {
		return err
	}
	ps := s.host.gossip.ps
	validate := func(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
		if from == s.host.ID() {
			return pubsub.ValidationAccept
		}
		a, err := of.Open(m.GetData())
		if err != nil {
			return pubsub.ValidationReject
		}
		m.ValidatorData = a
		return pubsub.ValidationAccept
	}
	if err := ps.RegisterTopicValidator(of.Name, validate, pubsub.WithValidatorInline(true)); err != nil {
		return err
	}
	defer func() { _ = ps.UnregisterTopicValidator(of.Name) }()
	topic, err := ps.Join(of.Name)
	if err != nil {
		return err
	}
	defer func() { _ = topic.Close() }()
	sub, err := topic.Subscribe(pubsub.WithBufferSize(16))
	if err != nil {
		return err
	}
	done := make(chan struct{})
	defer func() { sub.Cancel(); <-done }()
	s.host.run(func() { defer close(done); s.listen(sub) })
	return s.publish(topic, of)
}

// publish announces what the thread holds, as it grows.
func (s *share) publish(topic *pubsub.Topic, of wire.Topic) error {
	var last []byte
	for {
		changed := s.thread.Changed()
		d := tipset.Digest(s.thread.Sendable())
		if !bytes.Equal(last, d[:]) {
			if last != nil { // what was there at the start is found by connecting
				if err := s.publishOne(topic, of, d[:]); err != nil {
					return err
				}
			}
			last = d[:]
		}
		t := time.NewTimer(announceEvery)
		select {
		case <-t.C:
		case <-s.ctx.Done():
			t.Stop()
			return s.ctx.Err()
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
}

// publishOne seals and sends one announcement.
func (s *share) publishOne(topic *pubsub.Topic, of wire.Topic, digest []byte) error {
	h := s.host
	a := wire.Announcement{Peer: []byte(h.ID()), Digest: digest}
	for _, addr := range h.lp.Addrs() {
		if len(a.Addrs) < wire.MaxAnnouncedAt {
			a.Addrs = append(a.Addrs, addr.Bytes())
		}
	}
	return topic.Publish(s.ctx, of.Seal(a))
}

// listen acts on announcements: a peer that holds something else is dialled.
func (s *share) listen(sub *pubsub.Subscription) {
	var dialled time.Time
	for {
		m, err := sub.Next(s.ctx)
		if err != nil {
			return
		}
		a, ok := m.ValidatorData.(wire.Announcement)
		if !ok {
			continue // our own
		}
		mine := tipset.Digest(s.thread.Tips())
		if bytes.Equal(mine[:], a.Digest) || time.Since(dialled) < dialEvery {
			continue
		}
		if info, ok := announcer(a); ok && s.isMember(info.ID) && !s.host.Connected(info.ID) {
			dialled = time.Now()
			ctx, cancel := context.WithTimeout(s.ctx, requestTimeout)
			if err := s.host.lp.Connect(ctx, info); err != nil {
				s.host.log.Debug("announcing peer is unreachable", "peer", info.ID, "error", err)
			}
			cancel()
		}
	}
}

// isMember reports whether a peer is another member's device.
func (s *share) isMember(p peer.ID) bool {
	device, err := DeviceOf(p)
	if err != nil || p == s.host.ID() {
		return false
	}
	_, member := s.thread.Member(device)
	return member
}

// announcer returns where the announcer says that it is; ok is false if it says nothing
// that can be dialled.
func announcer(a wire.Announcement) (info peer.AddrInfo, ok bool) {
	id, err := peer.IDFromBytes(a.Peer)
	if err != nil {
		return info, false
	}
	info.ID = id
	for _, b := range a.Addrs {
		if addr, err := multiaddr.NewMultiaddrBytes(b); err == nil {
			info.Addrs = append(info.Addrs, addr)
		}
	}
	return info, len(info.Addrs) > 0
}
