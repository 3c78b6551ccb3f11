package net

import (
	"io"
	"testing"

	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/wire"
)

// askAlso asks a relay to keep a thread of a device on one more stream of it, as a second
// process of the device does, and returns that stream.
func (p *party) askAlso(t *testing.T, relay *party, th *Thread, credential CredentialFunc) *wire.Writer {
	t.Helper()
	req, err := p.hostRequest(th.share, relay.device.Public().Sign, credential)
	if err != nil {
		t.Fatal(err)
	}
	w := wire.NewWriter(io.Discard)
	if err := relay.answerRequest(p.ID(), req, w); err != nil {
		t.Fatal(err)
	}
	return w
}

// A permission that a device has on one stream outlives that of another stream of it.
func TestGrantsOfTwoStreams(t *testing.T) {
	w := newWorld()
	r, a := newRelay(t, w), newParty(t)
	good, bad := w.newKey(t, w.developer), w.newKey(t, w.developer)
	w.revoke(bad.Public())
	ta := a.create(t)
	a.use(t, r, a.credential(t, good))
	identical(t, ta, r.ID())

	newer := a.askAlso(t, r, ta, a.credential(t, good))
	r.revokeAll(a.ID(), newer)
	write(t, a, ta, 1)
	identical(t, ta, r.ID())

	a.askAlso(t, r, ta, a.credential(t, bad)) // is refused
	write(t, a, ta, 1)
	identical(t, ta, r.ID())

	third := w.newKey(t, w.developer)
	newer = a.askAlso(t, r, ta, a.credential(t, third))
	w.revoke(third.Public())
	r.Recheck()
	write(t, a, ta, 1)
	identical(t, ta, r.ID())
	r.revokeAll(a.ID(), newer)

	a.askAlso(t, r, ta, a.credential(t, good))
	w.revoke(good.Public())
	r.Recheck() // ends both
	waitRefused(t, ta, r.ID(), keys.CodeKeyRevoked)
}

// Each stream on which a thread was refused is told when it may be asked for again.
func TestRefusedOnTwoStreams(t *testing.T) {
	w := newWorld()
	r, a := newRelay(t, w), newParty(t)
	bad := w.newKey(t, w.developer)
	w.revoke(bad.Public())
	ta := a.create(t)
	a.use(t, r, a.credential(t, bad))
	waitRefused(t, ta, r.ID(), keys.CodeKeyRevoked)
	newer := a.askAlso(t, r, ta, a.credential(t, bad))
	w.restore(bad.Public())
	r.revokeAll(a.ID(), newer)
	r.Recheck()
	identical(t, ta, r.ID())
}
