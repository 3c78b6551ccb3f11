package keys_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/weftdb/weft/keys"
)

func delegation(t testing.TB, opt keys.DelegateOptions) *keys.Delegation {
	t.Helper()
	opt.Issued = now()
	d, err := keys.NewIdentity().Delegate(keys.NewDevice().Public(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A delegation is signed whole: what is altered of it does not verify.
func TestDelegationIsSignedWhole(t *testing.T) {
	d := delegation(t, keys.DelegateOptions{Rights: keys.RightAdmit, Name: "hub"})
	if err := d.Verify(now()); err != nil {
		t.Fatal(err)
	}
	for what, alter := range map[string]func(*keys.Delegation){
		"identity": func(d *keys.Delegation) { d.Identity = keys.NewIdentity().Public() },
		"device":   func(d *keys.Delegation) { d.Sign = keys.NewIdentity().Public() },
		"seal":     func(d *keys.Delegation) { d.Seal[0] ^= 1 }, "rights": func(d *keys.Delegation) { d.Rights |= keys.RightCreate },
		"generation": func(d *keys.Delegation) { d.Generation++ }, "issued": func(d *keys.Delegation) { d.Issued-- },
		"expires": func(d *keys.Delegation) { d.Expires = d.Issued + 1 }, "name": func(d *keys.Delegation) { d.Name = "" },
	} {
		o := *d
		if alter(&o); o.VerifySignature() == nil {
			t.Errorf("a delegation with another %s verifies", what)
		}
	}
}

// Doors look at when a delegation ends; what was signed is valid for ever.
func TestDelegationExpires(t *testing.T) {
	d := delegation(t, keys.DelegateOptions{Expires: now().Add(time.Hour)})
	if err := d.Verify(now().Add(time.Hour - time.Second)); err != nil {
		t.Error(err)
	}
	var no *keys.Refusal
	if err := d.Verify(now().Add(time.Hour)); !errors.As(err, &no) || no.Code != keys.CodeCertificateExpired {
		t.Errorf("got %v, want certificate_expired", err)
	}
	if err := d.Verify(now().Add(-time.Hour)); !errors.As(err, &no) || no.Code != keys.CodeCredentialNotYetValid {
		t.Errorf("got %v, want credential_not_yet_valid", err)
	}
	if err := d.VerifySignature(); err != nil {
		t.Error(err)
	}
}

// The list of rights is closed, writing is always among them, and a delegation passes for
// no certificate, nor a certificate for one.
func TestDelegationIsOfAClosedList(t *testing.T) {
	id, to := keys.NewIdentity(), keys.NewDevice().Public()
	if _, err := id.Delegate(to, keys.DelegateOptions{Issued: now(), Rights: 8}); !errors.Is(err, keys.ErrInvalid) {
		t.Errorf("got %v of an unknown right, want ErrInvalid", err)
	}
	d := delegation(t, keys.DelegateOptions{})
	if !d.Rights.Has(keys.RightWrite) || d.Rights.Has(keys.RightWrite|keys.RightAdmit) || d.Generation != 1 {
		t.Errorf("got %+v", d)
	}
	b, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, d.Seal[:]) + len(d.Seal)
	for _, c := range []struct {
		rights byte
		want   error
	}{{1, keys.ErrMalformed}, {10, keys.ErrVersion}} {
		o := bytes.Clone(b)
		o[at] = c.rights
		if _, err := keys.DecodeDelegation(o); !errors.Is(err, c.want) {
			t.Errorf("rights %d: got %v, want %v", c.rights, err, c.want)
		}
	}
	if _, err := keys.DecodeCertificate(b); err == nil {
		t.Error("a delegation is taken for a certificate")
	}
	if _, err := keys.DecodeDelegation(samples(t).certificate); err == nil {
		t.Error("a certificate is taken for a delegation")
	}
	forged := keys.Certificate{Identity: d.Identity, Sign: d.Sign, Seal: d.Seal, Issued: d.Issued, Signature: d.Signature}
	if forged.VerifySignature() == nil {
		t.Error("the signature of a delegation makes a certificate")
	}
}

func FuzzDecodeDelegation(f *testing.F) {
	b, err := delegation(f, keys.DelegateOptions{Name: "hub ✓"}).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) { same(t, b, keys.DecodeDelegation) })
}

// A hub's devices are told apart by identity, generation and master key, and are always the same.
func TestHubDevice(t *testing.T) {
	a, b, m, n := keys.NewIdentity().Public(), keys.NewIdentity().Public(), keys.NewSecret(), keys.NewSecret()
	seen := map[keys.DevicePublic]bool{}
	for _, x := range []struct {
		master     keys.Secret
		identity   keys.PublicKey
		generation uint64
	}{{m, a, 1}, {m, a, 2}, {m, b, 1}, {n, a, 1}} {
		one, err1 := keys.HubDevice(x.master, x.identity, x.generation)
		two, err2 := keys.HubDevice(x.master, x.identity, x.generation)
		if err1 != nil || err2 != nil || one.Public() != two.Public() || seen[one.Public()] {
			t.Fatalf("got %v, %v", err1, err2)
		}
		seen[one.Public()] = true
	}
	if _, err := keys.HubDevice(keys.Secret{}, a, 1); err == nil {
		t.Error("a hub without a master key has a device")
	}
}
