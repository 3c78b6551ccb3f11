package client

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
	"github.com/weftdb/weft/node/rpc"
)

// certs returns what a hub on this machine proves itself with, and what its clients trust.
func certs(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hub"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	b, err := x509.CreateCertificate(rand.Reader, x, x, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if x, err = x509.ParseCertificate(b); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(x)
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{b}, PrivateKey: key}}}, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
}

// openHub opens a hub with TLS, and returns its address.
func openHub(t *testing.T) (n *node.Node, at string, trust *tls.Config) {
	t.Helper()
	server, trust := certs(t)
	remote, err := rpc.Remote(rpc.RemoteOptions{Addr: "127.0.0.1:0", TLS: server})
	if err != nil {
		t.Fatal(err)
	}
	if n, err = node.Open(t.Context(), node.Config{Memory: true, Relay: true, Surfaces: []node.Surface{remote}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n, "https://" + n.SurfaceAddr(node.SurfaceRemote), trust
}

func openRemote(t *testing.T, o RemoteOptions) *Client {
	t.Helper()
	c, err := OpenRemote(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// An account key does with its owner's databases, from elsewhere, what the node does with them:
// by calls, by streams either way, with tokens that are bound and with those that are not.
func TestRemote(t *testing.T) {
	n, at, trust := openHub(t)
	for _, bearer := range []bool{false, true} {
		name := map[bool]string{false: "bound", true: "bearer"}[bearer]
		t.Run(name, func(t *testing.T) {
			_, secret, err := n.CreateKey(node.KeyOptions{Kind: keys.KindAccount})
			if err != nil {
				t.Fatal(err)
			}
			ctx := t.Context()
			c := openRemote(t, RemoteOptions{URL: at, Secret: secret, Hub: n.Device(), Bearer: bearer, TLS: trust})
			if _, err := c.Databases.Create(ctx, connect.NewRequest(&weftv1.CreateDatabaseRequest{Name: name})); err != nil {
				t.Fatal(err)
			}
			doc := document(bson.D{{Key: "x", Value: 1}})
			if _, err := c.Documents.Insert(ctx, connect.NewRequest(&weftv1.InsertRequest{Database: name, Collection: "c", Documents: [][]byte{doc}})); err != nil {
				t.Fatal(err)
			}
			in := c.Documents.Import(ctx)
			for range 3 {
				if err := in.Send(&weftv1.ImportRequest{Database: name, Collection: "c", Documents: [][]byte{doc}}); err != nil {
					t.Fatal(err)
				}
			}
			if r, err := in.CloseAndReceive(); err != nil || r.Msg.GetInserted() != 3 {
				t.Fatal(r, err)
			}
			// Another token, when the hub does not know this one any more, without a word.
			if _, err := c.Sessions.End(ctx, connect.NewRequest(&weftv1.EndSessionRequest{})); err != nil {
				t.Fatal(err)
			}
			found, err := c.Documents.Find(ctx, connect.NewRequest(&weftv1.FindRequest{Database: name, Collection: "c"}))
			if err != nil {
				t.Fatal(err)
			}
			docs := 0
			for found.Receive() {
				docs += len(found.Msg().GetDocuments())
			}
			if err := errors.Join(found.Err(), found.Close()); err != nil || docs != 4 {
				t.Fatal(docs, err)
			}
			d, err := n.Database(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := d.Collection("c").Count(ctx, bson.D{}); err != nil || got != 4 {
				t.Errorf("the node has %d, %v", got, err)
			}
			who, err := c.Sessions.Describe(ctx, connect.NewRequest(&weftv1.DescribeSessionRequest{}))
			if err != nil || who.Msg.GetUser() != n.Identity().DID() || who.Msg.GetBound() == bearer || who.Msg.GetKey() != secret.Key() {
				t.Errorf("got %v, %v", who, err)
			}
			if _, err := c.Node.Status(ctx, connect.NewRequest(&weftv1.StatusRequest{})); !fault.Is(err, fault.PermissionDenied) {
				t.Errorf("the node's status: %v", err)
			}
			if _, err := n.RevokeKey(secret.Public()); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Databases.List(ctx, connect.NewRequest(&weftv1.ListDatabasesRequest{})); !fault.Is(err, fault.KeyRevoked) {
				t.Errorf("after the revocation: %v of kind %s", err, fault.KindOf(err))
			}
		})
	}
}

// A user has a space of its own, with any user group key of the same owner, and sees nothing of the
// owner's.
func TestRemoteUser(t *testing.T) {
	n, at, trust := openHub(t)
	if _, err := n.CreateDatabase(t.Context(), "own"); err != nil {
		t.Fatal(err)
	}
	user := keys.NewIdentity()
	asUser := func() *Client {
		_, secret, err := n.CreateKey(node.KeyOptions{Kind: keys.KindUser})
		if err != nil {
			t.Fatal(err)
		}
		return openRemote(t, RemoteOptions{URL: at, User: user, TLS: trust, Grant: func(_ context.Context, hub keys.PublicKey) (*keys.Grant, error) {
			return secret.Grant(keys.GrantOptions{User: user.Public(), Audience: hub, Issued: time.Now(), Expires: time.Now().Add(time.Hour)})
		}})
	}
	for range 2 {
		c := asUser()
		all, err := c.Databases.List(t.Context(), connect.NewRequest(&weftv1.ListDatabasesRequest{}))
		if err != nil || len(all.Msg.GetDatabases()) != 0 {
			t.Errorf("got %v, %v", all, err)
		}
		if _, err := c.Documents.Count(t.Context(), connect.NewRequest(&weftv1.CountRequest{Database: "own", Collection: "c"})); !fault.Is(err, fault.NotFound) {
			t.Errorf("the owner's database: %v", err)
		}
	}
}

// Where a client is not sure whom it calls it sends nothing that is worth having.
func TestRemoteTrust(t *testing.T) {
	n, at, trust := openHub(t)
	_, secret, err := n.CreateKey(node.KeyOptions{Kind: keys.KindAccount})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	list := func(o RemoteOptions) error {
		_, err := openRemote(t, o).Databases.List(t.Context(), connect.NewRequest(&weftv1.ListDatabasesRequest{}))
		return err
	}
	for _, x := range []struct {
		name string
		o    RemoteOptions
		want fault.Kind
	}{
		{"the hub", RemoteOptions{URL: at, Secret: secret, TLS: trust}, ""},
		{"by another of its names", RemoteOptions{URL: "https://localhost:" + u.Port(), Secret: secret, TLS: trust}, ""},
		{"another certificate", RemoteOptions{URL: at, Secret: secret}, fault.Unavailable},
		{"another hub than was expected", RemoteOptions{URL: at, Secret: secret, TLS: trust, Hub: keys.NewDevice().Public().Sign}, fault.WrongPeer},
	} {
		if err := list(x.o); fault.KindOf(err) != x.want {
			t.Errorf("%s: got %v of kind %s, want %q", x.name, err, fault.KindOf(err), x.want)
		}
	}
	for _, o := range []RemoteOptions{
		{URL: "http://hub.example", Secret: secret},
		{URL: "hub.example", Secret: secret},
		{URL: "https://u@hub.example", Secret: secret},
		{URL: "https://hub.example/path", Secret: secret},
		{URL: at},
		{URL: at, Secret: secret, User: keys.NewIdentity()},
		{URL: at, User: keys.NewIdentity()},
	} {
		if _, err := OpenRemote(o); err == nil {
			t.Errorf("%+v is a hub", o)
		}
	}
}

// Files go to a hub and come back whole.
func TestRemoteFiles(t *testing.T) {
	n, at, trust := openHub(t)
	_, secret, err := n.CreateKey(node.KeyOptions{Kind: keys.KindAccount})
	if err != nil {
		t.Fatal(err)
	}
	c := openRemote(t, RemoteOptions{URL: at, Secret: secret, TLS: trust})
	if _, err := c.Buckets.Create(t.Context(), connect.NewRequest(&weftv1.CreateBucketRequest{Name: "album"})); err != nil {
		t.Fatal(err)
	}
	body := bytes.Repeat([]byte("weft"), 1<<18)
	in := c.Buckets.Push(t.Context())
	if err := in.Send(&weftv1.PushRequest{Bucket: "album", Files: []*weftv1.FileChunk{{Path: "a.bin", Size: int64(len(body)), Data: body}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := in.CloseAndReceive(); err != nil {
		t.Fatal(err)
	}
	out, err := c.Buckets.Cat(t.Context(), connect.NewRequest(&weftv1.CatRequest{Bucket: "album", Path: "a.bin", Length: -1}))
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for out.Receive() {
		got = append(got, out.Msg().GetData()...)
	}
	if err := errors.Join(out.Err(), out.Close()); err != nil || !bytes.Equal(got, body) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}
