package format

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
)

// formats is the file of the bytes that every format had when it was fixed: what
// is signed, hashed, sent or stored must never change.
const formats = "testdata/formats.json"

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

// fixedFormats returns the encodings of fixed values, by format.
func fixedFormats(t testing.TB) map[string][]byte {
	t.Helper()
	heads := make([]clock.RecordID, 25)
	for i := range heads {
		heads[i] = clock.RecordID{Log: fill[clock.LogID](byte(i)), Seq: 1 << i, Hash: fill[clock.Hash](byte(i))}
	}
	g := Genesis{
		Owner: fill[keys.PublicKey](1), Salt: fill[[32]byte](2), Semantics: 1, Rules: fill[clock.Hash](3),
		Read: fill[clock.Hash](4), Service: fill[clock.Hash](5), Time: 1 << 40,
		Certificate: &keys.Certificate{Identity: fill[keys.PublicKey](1), Sign: fill[keys.PublicKey](6), Seal: fill[[32]byte](7), Issued: 1000, Name: "laptop"},
	}
	body, err := g.encode()
	if err != nil {
		t.Fatal(err)
	}
	g.Recovery, g.Sealed = fill[keys.PublicKey](15), bytes.Repeat([]byte("s"), 80)
	recoverable, err := g.encode()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := g.Certificate.Encode()
	if err != nil {
		t.Fatal(err)
	}
	sig := keys.Signature{1, 2, 3}
	d := Descriptor{Device: fill[keys.PublicKey](1), Kind: KindData, Incarnation: [16]byte{1, 2}, Control: fill[clock.LogID](10)}
	c := Descriptor{Device: fill[keys.PublicKey](1), Kind: KindControl, Incarnation: [16]byte{1, 2}}
	k := FirstKeys(fill[ThreadID](1), fill[SecretKey](2), fill[SecretKey](3))
	k = k.With(fill[clock.Hash](4), fill[SecretKey](5))
	e := &Epoch{
		Commit: fill[clock.Hash](11), Previous: []byte("previous"), Invites: []InviteSeal{{Invite: fill[clock.Hash](7), Sealed: [80]byte{13}}},
		Devices: []DeviceSeal{{Tag: [8]byte{1}, Sealed: [80]byte{12}}, {Tag: [8]byte{2}, Sealed: [80]byte{12}}},
	}
	all := map[string][]byte{
		"genesis": body, "recoverable genesis": recoverable, "signed genesis": encodeSigned(body, sig),
		"descriptor": d.Encode(), "control descriptor": c.Encode(), "header": fixedHeader().Encode(), "first header": (&Header{Seq: 1, Epochs: []clock.Hash{{}}}).Encode(),
		"plaintext":       (&Plaintext{Atomic: true, Payload: bytes.Repeat([]byte("p"), 300)}).encode(),
		"empty plaintext": (&Plaintext{}).encode(),
		"keys":            k.Encode(), "invite": EncodeInvite(fixedInvite(t)),
	}
	p := Control{
		Name: "näme", Key: fill[keys.PublicKey](1), Invite: fill[clock.Hash](7), Joins: []clock.Hash{fill[clock.Hash](8), fill[clock.Hash](9)}, Role: RoleWriter, Expires: 1 << 50, Uses: 24, Sealed: bytes.Repeat([]byte("s"), 256),
		Certificate: []byte("certificate"), Data: d.Encode(), Signature: sig,
		Subject: fill[keys.PublicKey](14), View: heads[1:3], Epoch: e,
		Added: fill[clock.Hash](16), Next: fill[keys.PublicKey](17),
	}
	all["control device"] = (&Control{Op: OpDevice, Certificate: cert, Sealed: p.Sealed}).Encode()
	all["control remove without an epoch"] = (&Control{Op: OpRemove, Subject: p.Subject}).Encode()
	p.Checkpoint = &Checkpoint{Heads: heads[:3], Snapshot: heads[4], State: fill[clock.Hash](6)}
	all["control "+OpCheckpoint.String()] = (&Control{Op: OpCheckpoint, Checkpoint: p.Checkpoint}).Encode()
	for _, p.Op = range []Op{OpOpen, OpInvite, OpJoin, OpClose, OpLog, OpAdmit, OpRole, OpRemove, OpRotate, OpTransfer, OpStart, OpRecover, OpRevoke} {
		all["control "+p.Op.String()] = p.Encode()
	}
	return all
}

func TestFormatsAreFixed(t *testing.T) {
	text, err := os.ReadFile(formats)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]string
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("WEFT_UPDATE") != "" {
		for name, b := range fixedFormats(t) {
			want[name] = hex.EncodeToString(b)
		}
		if text, err = json.MarshalIndent(want, "", "  "); err == nil {
			err = os.WriteFile(formats, append(text, '\n'), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	for name, b := range fixedFormats(t) {
		if got[name] = hex.EncodeToString(b); got[name] != want[name] {
			t.Errorf("%s: got %x, want %s", name, b, want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d formats, want %d", len(got), len(want))
	}
}

// What is sealed here is decoded as strictly as what peers send.
func FuzzSealed(f *testing.F) {
	all := fixedFormats(f)
	f.Add(all["keys"])
	f.Add(all["signed genesis"])
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
