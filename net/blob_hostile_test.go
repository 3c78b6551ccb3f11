package net

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/weftdb/weft/net/internal/format"
)

// A blobLie is what a peer lists and what it sends when that is asked for.
type blobLie func(ref wireBlobRef, sealed []byte) (listed wireBlobRef, name, sent []byte)

// lieOfBlobs makes a peer list one blob, and lie about it.
func (p *party) lieOfBlobs(ref wireBlobRef, sealed []byte, l blobLie) {
	listed, name, sent := l(ref, sealed)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lanes[laneBlobs] = func(_ peer.ID, s stream) {
		defer s.Close()
		r, w := bufio.NewReader(s), &frameWriter{s: s}
		var req blobFollow
		if p.readRequest(s, r, frameFollow, maxRequest, &req) != nil || !req.Follow {
			return
		}
		if w.send(frameBlobRefs, blobRefs{Last: 1, Blobs: []wireBlobRef{listed}}) != nil {
			return
		}
		for {
			if _, _, err := readFrame(r); err != nil {
				return
			}
			frame, err := rawFrame(frameBlob, name, sent)
			if err != nil || w.write(frame) != nil {
				return
			}
		}
	}
}

// A blob that is not what its name or its listing says is not kept, and who sends
// such blobs is disconnected.
func TestLyingBlobs(t *testing.T) {
	for name, l := range map[string]blobLie{
		"other bytes": func(ref wireBlobRef, sealed []byte) (wireBlobRef, []byte, []byte) {
			sealed[len(sealed)-1] ^= 1
			return ref, ref.ID, sealed
		},
		"another name": func(ref wireBlobRef, sealed []byte) (wireBlobRef, []byte, []byte) {
			return ref, make([]byte, 32), sealed
		},
		"larger than listed": func(ref wireBlobRef, sealed []byte) (wireBlobRef, []byte, []byte) {
			ref.Size--
			return ref, ref.ID, sealed
		},
		"above the maximum": func(ref wireBlobRef, _ []byte) (wireBlobRef, []byte, []byte) {
			return ref, ref.ID, make([]byte, format.MaxSealedBlob+1)
		},
		"listed without size": func(ref wireBlobRef, sealed []byte) (wireBlobRef, []byte, []byte) {
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
			liar.lieOfBlobs(wireBlobRef{ID: id[:], Size: uint64(len(sealed))}, sealed, l)
			victim.start(t)
			tv = victim.open(t, tv.ID())
			wait(t, disconnected(victim, liar), "the liar was not disconnected")
			if c := tv.Counts(); c.Blobs != 0 {
				t.Fatalf("the victim kept %d blobs", c.Blobs)
			}
		})
	}
}
