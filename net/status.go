package net

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/tipset"
	"github.com/weftdb/weft/net/internal/wire"
)

// Codes of refusals and states that are the exchange's own; those of
// credentials are in package keys.
const (
	CodeVersion       = fault.UnknownVersion
	CodeUnknownThread = fault.UnknownThread // the peer does not hold it
	CodeNotMember     = fault.NotMember     // the peer does not know us as a member (yet)
	CodeBadInvite     = fault.BadInvite
	CodeNotRelay      = fault.NotRelay // the peer keeps no threads for others
	CodeLimit         = fault.LimitReached
	CodeDiskFull      = fault.DiskFull  // nothing is stored at the moment: at the peer, or here
	CodeStateHash     = fault.StateHash // same records, different states: a defect
)

// A State says how a thread here compares with the same thread at a peer.
type State string

// States. Behind and ahead are this host's: behind means that the peer holds
// records that this host lacks.
const (
	StateIdentical   State = "identical"   // same heads and blobs and, between members, same state hash
	StateBehind      State = "behind"      // the peer has what we lack
	StateAhead       State = "ahead"       // the peer has not acknowledged all that we have
	StateDiverged    State = "diverged"    // both, or the state hashes differ
	StateRefused     State = "refused"     // the peer will not exchange the thread: Code, Reason
	StateWaiting     State = "waiting"     // connected; Reason says for what
	StateUnreachable State = "unreachable" // not connected, since Since
)

// A PeerStatus says how a thread compares with the same thread at one peer, by
// what the peer said that it holds durably.
type PeerStatus struct {
	Peer   peer.ID
	Addrs  []multiaddr.Multiaddr
	Role   string // "member", "relay" if this device uses it as one, "peer" if it is neither
	State  State
	Behind uint64 // records that the peer has and this host lacks
	Ahead  uint64 // records that this host has and the peer has not acknowledged
	Blobs  bool   // it has said which blobs it holds, and all of them are here
	Pruned bool   // it has said that it has deleted what every checkpoint covers that is in force here
	Code   keys.Code
	Reason string // one sentence; empty if there is nothing to say
	Since  time.Time
}

// A statement is what a host says that it holds durably.
type statement struct {
	tips   []clock.RecordID // known of this host only
	digest clock.Hash       // of the tips
	state  []byte           // state hash of just these; empty: not stated
	pruned []byte           // the last checkpoint; empty: what some cover is still held
	ok     bool             // there is a statement
}

func (a statement) equal(b statement) bool {
	return a.ok == b.ok && a.digest == b.digest && bytes.Equal(a.state, b.state) && bytes.Equal(a.pruned, b.pruned)
}

func (a statement) wire() wire.Statement {
	return wire.Statement{Digest: append([]byte(nil), a.digest[:]...), State: a.state, Pruned: a.pruned}
}

// stated is the inverse of [statement.wire].
func stated(w wire.Statement) (statement, error) {
	if len(w.Digest) != 32 || len(w.State) != 0 && len(w.State) != 32 || len(w.Pruned) != 0 && len(w.Pruned) != 32 {
		return statement{}, fault.Of(wire.ErrFrame, "the statement is malformed")
	}
	return statement{digest: clock.Hash(w.Digest), state: w.State, pruned: w.Pruned, ok: true}, nil
}

// statement returns what this host holds durably now.
func (s *share) statement() statement {
	tips, state := s.thread.Durable()
	out := statement{tips: tips, digest: tipset.Digest(tips), state: state, ok: true}
	if last, pruned := s.thread.LastCut(); pruned {
		out.pruned = last[:]
	}
	return out
}

// Status says how the thread compares with each peer that exchanges it: the relays that it
// uses, the members' devices, and others, such as a relay that the invite named and that is
// not used here; sorted by peer ID.
func (t *Thread) Status() []PeerStatus {
	s, th := t.share, t.share.thread
	h := s.host
	now := s.statement()
	mine, cut, blobs, lacks := tipset.Of(th.Sendable()), th.CutOff(), th.LastBlob(), th.LackingBlobs()
	last, _ := th.LastCut()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range th.Members() {
		if p, err := PeerOf(m.Device); err == nil && m.Device != th.Device() && !m.Added { // it holds nothing yet
			s.link(p)
		}
	}
	var all []PeerStatus
	for p, l := range s.links {
		r := h.remote(p)
		m, member := th.Member(r.device)
		member = member && !m.Added
		isRelay := s.usesRelay(p)
		_, former := th.Former(r.device)
		if !member && !isRelay && (former || !l.shared && len(r.grants[th.ID()]) == 0) {
			continue // it was here, and has nothing to do with the thread any more
		}
		ps := PeerStatus{Peer: p, Addrs: h.lp.Peerstore().Addrs(p), Role: "peer"}
		switch {
		case isRelay:
			ps.Role = "relay"
		case member:
			ps.Role = "member"
		}
		l.compare(&ps, r, now, mine, cut, last, blobs, isRelay || s.relay)
		if ps.State == StateIdentical && lacks > 0 {
			ps.Reason = fmt.Sprintf("Blobs that were damaged here are at neither: %d.", lacks)
		}
		all = append(all, ps)
	}
	slices.SortFunc(all, func(a, b PeerStatus) int { return cmp.Compare(a.Peer, b.Peer) })
	return all
}

// compare fills in the state. Without a fold on one side (relay), heads alone
// are compared. The caller holds host.mu.
func (l *link) compare(ps *PeerStatus, r *remote, now statement, mine tipset.Set, cut func(clock.RecordID) bool, last clock.Hash, blobs int64, relay bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	theirs := l.theirs.But(cut).Until(mine, l.share.thread.End)
	ps.Behind, ps.Ahead = tipset.Lacking(theirs, mine), tipset.Lacking(mine, theirs)
	ps.Blobs = l.blobs
	ps.Pruned = l.said.ok && !last.IsZero() && bytes.Equal(l.said.pruned, last[:])
	switch why := cmp.Or(l.host, l.pull, l.noBlobs); {
	case r.conn == nil:
		ps.State, ps.Reason = StateUnreachable, "The peer is not connected."
		if r.failed != "" {
			ps.Reason = "The peer is not connected: " + r.failed
		}
	case why != (refusal{}):
		ps.State, ps.Code, ps.Reason = StateRefused, why.code, why.text
	case !l.said.ok:
		ps.State, ps.Reason = StateWaiting, "The peer has not said yet what it holds."
	case ps.Behind > 0 && ps.Ahead > 0:
		ps.State, ps.Reason = StateDiverged, l.rejected
	case ps.Behind > 0 && l.share.host.full != nil:
		ps.State, ps.Code, ps.Reason = StateBehind, CodeDiskFull, clip(l.share.host.full.Error(), 512)
	case ps.Behind > 0:
		ps.State, ps.Reason = StateBehind, l.rejected
	case ps.Ahead > 0:
		ps.State = StateAhead
	case l.said.digest != now.digest:
		ps.State, ps.Reason = StateWaiting, "Records are on their way to the disk."
	case !l.blobs:
		ps.State, ps.Reason = StateBehind, "Blobs of the peer are on their way."
	case l.blobsTo < blobs:
		ps.State, ps.Reason = StateAhead, "Blobs are on their way to the peer."
	case relay:
		ps.State = StateIdentical
	case len(now.state) == 0:
		ps.State, ps.Reason = StateWaiting, "The state here is being folded."
	case len(l.said.state) == 0:
		ps.State, ps.Reason = StateWaiting, "The peer is folding its state."
	case bytes.Equal(now.state, l.said.state):
		ps.State = StateIdentical
	default:
		ps.State, ps.Code, ps.Reason = StateDiverged, CodeStateHash, "Both hold the same records and state hashes differ: one of the two has a defect."
	}
	if ps.State != l.state {
		l.state, l.since = ps.State, l.share.host.now()
	}
	ps.Since = l.since
	if ps.State == StateUnreachable {
		ps.Since = r.since
	}
}

// StatusChanged returns a channel that is closed when what [Thread.Status]
// returns may have changed.
func (t *Thread) StatusChanged() <-chan struct{} { return t.share.status.Wait() }

// WaitIdentical waits until the thread is identical with every listed peer or,
// if none is listed, with at least one peer and every one that is connected. It
// returns what ctx ends with, and the last state of a peer that is not.
func (t *Thread) WaitIdentical(ctx context.Context, peers ...peer.ID) error {
	for {
		changed, records := t.StatusChanged(), t.share.thread.Changed()
		waits := t.differs(peers)
		if waits == "" {
			return nil
		}
		select {
		case <-changed:
		case <-records:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", waits, ctx.Err())
		}
	}
}

// differs says with which peer the thread is not identical; "" is none.
func (t *Thread) differs(peers []peer.ID) string {
	all := t.Status()
	same := 0
	for _, ps := range all {
		wanted := slices.Contains(peers, ps.Peer) || len(peers) == 0 && ps.State != StateUnreachable
		switch {
		case !wanted:
		case ps.State == StateIdentical:
			same++
		default:
			return fmt.Sprintf("peer %s is %s: %s %s (behind %d, ahead %d)", ps.Peer, ps.State, ps.Code, ps.Reason, ps.Behind, ps.Ahead)
		}
	}
	if same < max(1, len(peers)) {
		return fmt.Sprintf("identical with %d peers of %d", same, max(1, len(peers)))
	}
	return ""
}
