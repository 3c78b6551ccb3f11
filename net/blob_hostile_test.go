package net

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/wire"
)

// A blobLie is what a peer lists and what it sends when that is asked for.
type blobLie func(ref wire.BlobRef, sealed []byte) (listed wire.BlobRef, name, sent []byte)

// lieOfBlobs makes a peer list one blob, and lie about it.
func (p *party) lieOfBlobs(ref wire.BlobRef, sealed []byte, l blobLie) {
	listed, name, sent := l(ref, sealed)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lanes[laneBlobs] = func(_ peer.ID, s stream) {
		defer s.Close()
		r, w := bufio.NewReader(s), wire.NewWriter(s)
		if req, err := readRequest[wire.Follow](s, r, wire.MaxRequest); err != nil || !req.Follow {
			return
		}
		if w.Send(wire.BlobRefs{Last: 1, Blobs: []wire.BlobRef{listed}}) != nil {
			return
		}
		for {
			if _, _, err := wire.Read(r); err != nil {
				return
			}
			if w.SendBlob(name, sent) != nil {
				return
			}
		}
	}
}

// A blob that is not what its name or its listing says is not kept, and who sends
// such blobs is disconnected.
func TestLyingBlobs(t *testing.T) {
	for name, l := range map[string]blobLie{
		"other bytes": func(ref wire.BlobRef, sealed []byte) (wire.BlobRef, []byte, []byte) {
			sealed[len(sealed)-1] ^= 1
			return ref, ref.ID, sealed
		},
		"another name": func(ref wire.BlobRef, sealed []byte) (wire.BlobRef, []byte, []byte) {
			return ref, make([]byte, 32), sealed
		},
		"larger than listed": func(ref wire.BlobRef, sealed []byte) (wire.BlobRef, []byte, []byte) {
			ref.Size--
			return ref, ref.ID, sealed
		},
		"above the maximum": func(ref wire.BlobRef, _ []byte) (wire.BlobRef, []byte, []byte) {
			return ref, ref.ID, make([]byte, format.MaxSealedBlob+1)
		},
		"listed without size": func(ref wire.BlobRef, sealed []byte) (wire.BlobRef, []byte, []byte) {
			ref.Size = 0
			return ref, ref.ID, sealed
		},
	} {
		t.Run(name, func(t *testing.T) {
			liar, victim := newParty(t), newParty(t)
			tl := liar.create(t)
			victim.connect(t, liar)
			tv := victim.join(t, tl)
			identical(t, tl, victim.ID())
			victim.halt(t)
			id := liar.putBlob(t, tl, bytes.Repeat([]byte{9}, 1000))
			sealed, err := tl.held().SealedBlob(id)
			if err != nil {
				t.Fatal(err)
			}
			liar.lieOfBlobs(wire.BlobRef{ID: id[:], Size: uint64(len(sealed))}, sealed, l)
			victim.start(t)
			tv = victim.open(t, tv.ID())
			wait(t, disconnected(victim, liar), "the liar was not disconnected")
			if c := tv.Counts(); c.Blobs != 0 {
				t.Fatalf("the victim kept %d blobs", c.Blobs)
			}
		})
	}
}
