package format

import (
	"bytes"
	"errors"
	"testing"

	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
)

func fill[T ~[32]byte](b byte) (a T) {
	for i := range a {
		a[i] = b + byte(i)
	}
	return a
}

func fixedHeader() *Header {
	return &Header{
		Log: fill[clock.LogID](1), Seq: 300, Prev: fill[clock.Hash](2), Time: 1 << 60,
		Control: []clock.Hash{fill[clock.Hash](3), fill[clock.Hash](4)}, Epochs: []clock.Hash{fill[clock.Hash](5), fill[clock.Hash](7)}, Root: fill[clock.Hash](6),
		Extensions: []Extension{{ID: 1, Data: []byte("x")}, {ID: 70000, Critical: true}},
	}
}

func fixedInvite(t testing.TB) Invite {
	t.Helper()
	seed, service := fill[[32]byte](7), fill[[32]byte](8)
	inv := Invite{Thread: fill[ThreadID](9)}
	var errs [2]error
	inv.seed, errs[0] = keys.SecretOf(seed[:])
	inv.service, errs[1] = keys.SecretOf(service[:])
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"/ip4/192.0.2.1/udp/4001/quic-v1", "/dns4/example.org/tcp/4001"} {
		addr, err := multiaddr.NewMultiaddr(a)
		if err != nil {
			t.Fatal(err)
		}
		inv.Addrs = append(inv.Addrs, addr)
	}
	return inv
}

// What is sealed here is decoded as strictly as what peers send.
func FuzzSealed(f *testing.F) {
	k := fixedKeys()
	f.Add(k.Encode())
	f.Add(encodeSigned([]byte("genesis"), keys.Signature{1}))
	f.Fuzz(func(t *testing.T, p []byte) {
		if k, err := DecodeKeys(ThreadID{1}, p); err == nil && !bytes.Equal(k.Encode(), p) {
			t.Error("keys encode to other bytes")
		}
		var g signedGenesis
		if err := codec.Decode(p, "genesis", &g); err == nil && !bytes.Equal(encodeSigned(g.Genesis, g.Signature), p) {
			t.Error("a signed genesis encodes to other bytes")
		}
	})
}
