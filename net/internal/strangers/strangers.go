// Package strangers bounds what peers that a host does not know may have of it, each
// and all together: streams, and bytes that they sent and that were not answered yet.
//
// A stranger is a peer that has proved nothing to the host but its device key, which
// costs it nothing: no member of a thread that is held here, no relay in use, without
// a grant, an open invite or an API key shown. The host says who is one.
//
//	a stream of a stranger     counted; the 17th of one peer, or one above what all may
//	                           have, is reset
//	bytes that it sends        counted as they are read, until they are answered or
//	                           done with; above its 16 KiB the stream is reset
//	it becomes known           its streams count no longer ([Trust], or its next byte
//	                           above the bound)
//
// A protocol reads a stream without knowing whose it is: [Reader], [FrameLimit] and
// [Answered] take any, and do nothing to one that is not a stranger's.
package strangers

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/weftdb/weft/internal/fault"
)

// What one stranger may have, and all.
const (
	Streams    = 16
	Bytes      = 16 << 10
	AllStreams = 512
	AllBytes   = 8 << 20
)

// errCrowded reports that strangers have what they may have.
var errCrowded = fault.New(fault.LimitReached, "the peer is unknown here and has sent more than an unknown peer may, 16 KiB without an answer")

// A Budget is what the strangers of one host have and may have. It is safe for
// concurrent use.
type Budget struct {
	known    func(peer.ID) bool
	patience time.Duration

	mu    sync.Mutex // guards the fields below; held while nothing else is taken
	all   Share
	peers map[peer.ID]*Share
}

// A Share is what a stranger has, or all of them.
type Share struct{ Bytes, Streams int }

// New returns an empty budget. known says that a peer is no stranger; a stranger reads
// what it is told within patience, or loses its stream.
func New(known func(peer.ID) bool, patience time.Duration) *Budget {
	return &Budget{known: known, patience: patience, peers: map[peer.ID]*Share{}}
}

// Enter counts a stream of a stranger; false refuses it. The caller owes Leave.
func (b *Budget) Enter(s network.Stream) (*Visit, bool) {
	p := s.Conn().RemotePeer()
	if !b.enter(p) {
		return nil, false
	}
	return &Visit{Stream: s, budget: b, peer: p}, true
}

// Shares returns what all strangers have now, and what each has.
func (b *Budget) Shares() (all Share, each map[peer.ID]Share) {
	b.mu.Lock()
	defer b.mu.Unlock()
	each = make(map[peer.ID]Share, len(b.peers))
	for p, one := range b.peers {
		each[p] = *one
	}
	return b.all, each
}

// enter counts a stream; false says that they are too many.
func (b *Budget) enter(p peer.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.peers[p]
	if b.all.Streams >= AllStreams || one != nil && one.Streams >= Streams {
		return false
	}
	if one == nil {
		one = &Share{}
		b.peers[p] = one
	}
	one.Streams++
	b.all.Streams++
	return true
}

// leave ends a stream that was counted.
func (b *Budget) leave(p peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.peers[p]
	b.all.Streams--
	if one.Streams--; one.Streams == 0 {
		delete(b.peers, p)
	}
}

// take counts bytes that a stranger sent; false says that they are too many.
func (b *Budget) take(p peer.ID, n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.peers[p]
	if one == nil || one.Bytes+n > Bytes || b.all.Bytes+n > AllBytes {
		return false
	}
	one.Bytes += n
	b.all.Bytes += n
	return true
}

// give ends the count of bytes.
func (b *Budget) give(p peer.ID, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if one := b.peers[p]; one != nil {
		one.Bytes -= n
	}
	b.all.Bytes -= n
}
