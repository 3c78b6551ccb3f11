package format

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
)

func testCertificate(t testing.TB) []byte {
	t.Helper()
	cert, err := keys.NewIdentity().Certify(keys.NewDevice().Public(), keys.CertifyOptions{Issued: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	b, err := cert.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A recovery key prints nothing of itself, its text is parsed back, and an altered one or
// an invite is none.
func TestRecoveryPrintsNoSecret(t *testing.T) {
	r, err := NewRecovery(ThreadID{1}, SecretKey{2}, keys.NewIdentity(), fixedInvite(t).Addrs)
	if err != nil {
		t.Fatal(err)
	}
	text := r.Text()
	for _, s := range []string{fmt.Sprint(r), fmt.Sprintf("%+v %#v %s", r, &r, []Recovery{r})} {
		if strings.Contains(s, text[20:40]) || !strings.Contains(s, "[recovery key]") {
			t.Fatalf("got %s", s)
		}
	}
	back, err := ParseRecovery(text)
	if err != nil || back.Text() != text || back.Key() != r.Key() || back.Service() != (SecretKey{2}) || len(back.Addrs) != len(r.Addrs) {
		t.Fatalf("got %v", err)
	}
	for i := range text {
		p := []byte(text)
		p[i] ^= 1
		if _, err := ParseRecovery(string(p)); err == nil {
			t.Fatalf("a recovery key with character %d altered was taken", i)
		} else if strings.Contains(err.Error(), text[20:30]) {
			t.Fatalf("the error repeats the secret: %v", err)
		}
	}
	url := r.secret.URL()
	if _, err := ParseRecovery(recoveryScheme + strings.TrimPrefix(url, inviteScheme)); err == nil {
		t.Error("an invite was taken for a recovery key")
	}
}

// A genesis gives the key of the first epoch to whoever has its recovery key, and to
// nobody else.
func TestGenesisGivesItsKeyToTheRecoveryKey(t *testing.T) {
	key, other := keys.NewIdentity(), keys.NewIdentity()
	d := keys.NewDevice()
	cert, err := keys.NewIdentity().Certify(d.Public(), keys.CertifyOptions{Issued: time.Unix(1, 0), Name: strings.Repeat("n", keys.MaxNameSize)})
	if err != nil {
		t.Fatal(err)
	}
	signed, k, err := NewGenesis(d, cert, key.Public(), 5)
	if err != nil {
		t.Fatal(err)
	}
	g, err := DecodeGenesis(signed)
	if err != nil || g.Recovery != key.Public() {
		t.Fatalf("got %v", err)
	}
	id := ThreadIDOf(signed)
	lacks := RelayKeys(id, k.Service)
	got, err := g.OpenFirst(id, &lacks, key)
	if err != nil || !bytes.Equal(got.Encode(), k.Encode()) {
		t.Errorf("got %v", err)
	}
	if _, err := g.OpenFirst(id, &lacks, other); !errors.Is(err, ErrSealed) {
		t.Errorf("got %v with another key, want ErrSealed", err)
	}
	g.Read = clock.Hash{1}
	if _, err := g.OpenFirst(id, &lacks, key); err == nil {
		t.Error("a key was taken that the genesis does not commit to")
	}
	for what, bad := range map[string]Genesis{
		"sealed to nobody": {Sealed: make([]byte, 80)}, "not sealed": {Recovery: key.Public()},
		"too short": {Recovery: key.Public(), Sealed: make([]byte, 79)}, "no key": {Recovery: keys.PublicKey{2}, Sealed: make([]byte, 80)},
	} {
		bad.Owner, bad.Certificate, bad.Semantics = cert.Identity, cert, semanticsVersion
		b, err := bad.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeGenesisBody(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// A recover is signed by the recovery key, for one thread and one log, and whole.
func TestRecoverIsSigned(t *testing.T) {
	key := keys.NewIdentity()
	p := &Control{Op: OpRecover, Certificate: testCertificate(t), Data: []byte("d"), Key: key.Public(), Next: keys.NewIdentity().Public(), View: []clock.RecordID{{Log: clock.LogID{1}, Seq: 1}}}
	p.SignRecover(ThreadID{1}, clock.LogID{2}, key)
	back, err := DecodeControl(p.Encode())
	if err != nil || !back.CheckRecover(ThreadID{1}, clock.LogID{2}) || !bytes.Equal(back.Encode(), p.Encode()) {
		t.Fatalf("got %v", err)
	}
	if back.CheckRecover(ThreadID{2}, clock.LogID{2}) || back.CheckRecover(ThreadID{1}, clock.LogID{3}) {
		t.Error("a signature of another thread or log was taken")
	}
	for what, alter := range map[string]func(*Control){
		"certificate": func(c *Control) { c.Certificate = []byte("x") }, "data": func(c *Control) { c.Data = []byte("x") },
		"key": func(c *Control) { c.Key = keys.NewIdentity().Public() }, "next": func(c *Control) { c.Next = keys.PublicKey{} },
		"view": func(c *Control) { c.View = nil },
	} {
		c := *back
		if alter(&c); c.CheckRecover(ThreadID{1}, clock.LogID{2}) {
			t.Errorf("a recover with another %s was taken", what)
		}
	}
}

// A device record gives its keys to the device. One of a delegated device has its
// delegation, and neither passes for the other.
func TestDeviceRecord(t *testing.T) {
	d := keys.NewDevice()
	k := FirstKeys(ThreadID{1}, SecretKey{2}, SecretKey{3})
	sealed, err := SealForDevice(ThreadID{1}, d.Public().Seal, &k)
	if err != nil {
		t.Fatal(err)
	}
	cert := testCertificate(t)
	back, err := DecodeControl((&Control{Op: OpDevice, Certificate: cert, Sealed: sealed}).Encode())
	if err != nil {
		t.Fatal(err)
	}
	if c, _ := keys.DecodeCertificate(cert); back.Subject != c.Sign {
		t.Errorf("got subject %s, want the device that is certified", back.Subject)
	}
	lacks := RelayKeys(ThreadID{1}, k.Service)
	commits := func(clock.Hash) (clock.Hash, bool) { return CommitTo(SecretKey{2}), true }
	got, err := OpenAdded(ThreadID{1}, &lacks, d, back.Sealed, commits)
	if err != nil || !bytes.Equal(got.Encode(), k.Encode()) {
		t.Errorf("got %v", err)
	}
	if _, err := OpenAdded(ThreadID{1}, &lacks, keys.NewDevice(), back.Sealed, commits); !errors.Is(err, ErrSealed) {
		t.Errorf("got %v at another device, want ErrSealed", err)
	}
	if _, err := OpenAdded(ThreadID{1}, &lacks, d, back.Sealed, func(clock.Hash) (clock.Hash, bool) { return clock.Hash{}, true }); !errors.Is(err, ErrWrongKey) {
		t.Errorf("got %v of a wrong key, want ErrWrongKey", err)
	}
	by, err := keys.NewIdentity().Delegate(d.Public(), keys.DelegateOptions{Issued: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	delegation, err := by.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err = DecodeControl((&Control{Op: OpDevice, Certificate: delegation, Sealed: sealed, Delegated: true}).Encode())
	if err != nil || !back.Delegated || back.Subject != by.Sign {
		t.Errorf("got %+v, %v", back, err)
	}
	for _, c := range []struct {
		first []byte
		how   uint64
		want  error
	}{{cert, 1, ErrMalformed}, {delegation, 0, ErrMalformed}, {delegation, 2, ErrOperation}} {
		p := codec.Encode(&controlWire{Op: OpDevice, Body: codec.Encode(&deviceWire{Certificate: c.first, Delegated: c.how})})
		if _, err := DecodeControl(p); !errors.Is(err, c.want) {
			t.Errorf("delegated %d: got %v, want %v", c.how, err, c.want)
		}
	}
	if _, err := DecodeControl((&Control{Op: OpDevice, Certificate: []byte("x")}).Encode()); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v of no certificate, want ErrMalformed", err)
	}
}

// A genesis by a delegated device is its identity's; one without the right to create, or of
// another identity, is none.
func TestDelegatedGenesis(t *testing.T) {
	id, hub := keys.NewIdentity(), keys.NewDevice()
	delegate := func(r keys.Rights) *keys.Delegation {
		d, err := id.Delegate(hub.Public(), keys.DelegateOptions{Rights: r, Issued: time.Unix(1, 0), Name: strings.Repeat("n", keys.MaxNameSize)})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	signed, _, err := NewDelegatedGenesis(hub, delegate(keys.RightCreate|keys.RightAdmit), keys.NewIdentity().Public(), 5)
	if err != nil {
		t.Fatal(err)
	}
	g, err := DecodeGenesis(signed)
	if err != nil || g.Owner != id.Public() || g.Device() != hub.Public().Sign || g.Certificate != nil || !g.Delegation.Rights.Has(keys.RightAdmit) {
		t.Fatalf("got %+v, %v", g, err)
	}
	if signed, _, err = NewDelegatedGenesis(hub, delegate(keys.RightAdmit), keys.PublicKey{}, 5); err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeGenesis(signed); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v without the right to create", err)
	}
	if signed, _, err = NewDelegatedGenesis(keys.NewDevice(), delegate(keys.RightCreate), keys.PublicKey{}, 5); err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeGenesis(signed); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v by another device", err)
	}
	signed, _, err = newGenesis(hub, Genesis{Owner: keys.NewIdentity().Public(), Delegation: delegate(keys.RightCreate)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeGenesis(signed); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v for another owner", err)
	}
}
