package strangers

import (
	"bufio"
	"io"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// A Visit is a stream of a peer that was a stranger when it came.
type Visit struct {
	network.Stream
	budget  *Budget
	peer    peer.ID
	held    atomic.Int64 // bytes that are counted
	trusted atomic.Bool  // no longer a stranger's
}

// Leave ends the count of the stream and of what was read from it.
func (v *Visit) Leave() {
	v.answered()
	v.budget.leave(v.peer)
}

// Read reads and counts.
func (v *Visit) Read(b []byte) (int, error) {
	n, err := v.Stream.Read(b)
	if n > 0 && !v.trusted.Load() {
		if !v.budget.take(v.peer, n) {
			if v.budget.known(v.peer) {
				v.trust()
				return n, err
			}
			_ = v.Reset()
			return 0, errCrowded
		}
		v.held.Add(int64(n))
	}
	return n, err
}

// Write answers what was read. A stranger that does not read does not keep its stream.
func (v *Visit) Write(b []byte) (int, error) {
	v.answered()
	if !v.trusted.Load() {
		_ = v.SetWriteDeadline(time.Now().Add(v.budget.patience))
	}
	return v.Stream.Write(b)
}

// answered ends the count of what was read so far.
func (v *Visit) answered() {
	if n := v.held.Swap(0); n > 0 {
		v.budget.give(v.peer, int(n))
	}
}

func (v *Visit) trust() {
	v.trusted.Store(true)
	_ = v.SetWriteDeadline(time.Time{})
	v.answered()
}

// Trust says that whoever sends on s has proved enough: what it sends is no longer
// counted as a stranger's.
func Trust(s any) {
	if v, ok := s.(*Visit); ok {
		v.trust()
	}
}

// Answered says that what was read from s is done with.
func Answered(s any) {
	if v, ok := s.(*Visit); ok {
		v.answered()
	}
}

// FrameLimit returns how long a frame from s may be: limit, or a stranger's less,
// which leaves room for what is read ahead.
func FrameLimit(s any, limit int) int {
	if v, ok := s.(*Visit); ok && !v.trusted.Load() {
		return min(limit, Bytes-2*readAhead)
	}
	return limit
}

// readAhead is how far a stranger's stream is read ahead, in bytes.
const readAhead = 512

// Reader returns s, read ahead by a little.
func Reader(s io.Reader) *bufio.Reader {
	if v, ok := s.(*Visit); ok && !v.trusted.Load() {
		return bufio.NewReaderSize(s, readAhead)
	}
	return bufio.NewReader(s)
}
