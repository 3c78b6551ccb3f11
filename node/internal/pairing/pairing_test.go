package pairing

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weftdb/weft/keys"
)

// A request is taken as it was written, and no other: not with a byte altered, nor by
// another device.
func TestRequest(t *testing.T) {
	d := keys.NewDevice()
	s, err := NewRequest(d, "phöne")
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseRequest(" " + s + "\n")
	if err != nil || got.Device != d.Public() || got.Name != "phöne" {
		t.Fatalf("got %+v, %v", got, err)
	}
	for i := range s {
		p := []byte(s)
		p[i] ^= 1
		if _, err := ParseRequest(string(p)); err == nil {
			t.Fatalf("a request with character %d altered was taken", i)
		}
	}
	other := keys.NewDevice().Public()
	forged := requestWire{Version: version, Suite: 1, Sign: other.Sign, Seal: d.Public().Seal, Name: "x"}
	forged.Signature = d.Sign(domainRequest, other.Sign[:], forged.Seal[:], []byte("x"))
	if _, err := ParseRequest(text(requestScheme, codec.Encode(&forged))); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v of a request in the name of another device", err)
	}
	if _, err := NewRequest(d, strings.Repeat("n", keys.MaxNameSize+1)); err == nil {
		t.Error("a name was taken that no certificate has room for")
	}
}

// A reply opens for the device that it is to, whole, and for nobody else.
func TestReply(t *testing.T) {
	d := keys.NewDevice()
	cert, err := keys.NewIdentity().Certify(d.Public(), keys.CertifyOptions{Issued: time.Unix(1, 0), Name: "phone"})
	if err != nil {
		t.Fatal(err)
	}
	r := &Reply{
		Certificate: cert, Databases: []Database{{ID: [32]byte{1}, Service: keys.NewSecret(), Name: "atlas"}},
		Relays: []Relay{{Addr: "/ip4/1.2.3.4", Key: "k", Secret: "s"}}, Addrs: []string{"/ip4/1.2.3.5"},
	}
	s, err := r.Text()
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenReply(s, d)
	if err != nil || !reflect.DeepEqual(got.Relays, r.Relays) || !reflect.DeepEqual(got.Addrs, r.Addrs) || *got.Certificate != *cert {
		t.Fatalf("got %+v, %v", got, err)
	}
	if x := got.Databases; len(x) != 1 || x[0].ID != r.Databases[0].ID || x[0].Name != "atlas" || !x[0].Service.Equal(r.Databases[0].Service) {
		t.Errorf("got %+v", x)
	}
	if _, err := OpenReply(s, keys.NewDevice()); !errors.Is(err, ErrOther) {
		t.Errorf("got %v at another device, want ErrOther", err)
	}
	for i := 0; i < len(s); i += 7 {
		p := []byte(s)
		p[i] ^= 1
		if _, err := OpenReply(string(p), d); err == nil {
			t.Fatalf("a reply with character %d altered was taken", i)
		}
	}
	many := *r
	many.Databases = make([]Database, MaxDatabases+1)
	if _, err := many.Text(); err == nil {
		t.Error("a reply was written that nobody reads")
	}
	// One that certifies another device than it is sealed to.
	other := keys.NewDevice()
	if cert, err = keys.NewIdentity().Certify(keys.DevicePublic{Sign: other.Public().Sign, Seal: d.Public().Seal}, keys.CertifyOptions{Issued: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	if s, err = (&Reply{Certificate: cert}).Text(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReply(s, d); !errors.Is(err, ErrOther) {
		t.Errorf("got %v of another device's certificate, want ErrOther", err)
	}
}

func FuzzRequest(f *testing.F) {
	s, err := NewRequest(keys.NewDevice(), "n")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s)
	d := keys.NewDevice()
	f.Fuzz(func(_ *testing.T, s string) {
		_, _ = ParseRequest(s)
		_, _ = OpenReply(s, d)
	})
}
