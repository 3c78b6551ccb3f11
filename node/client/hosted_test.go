package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

// A hosting is a hub in a folder, which can be started again.
type hosting struct {
	*testing.T
	n      *node.Node
	c      node.Config
	secret *keys.APISecret // of a user group key
}

func newHosting(t *testing.T, change func(*node.Config)) *hosting {
	t.Helper()
	remote, err := rpc.Remote(rpc.RemoteOptions{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	h := &hosting{T: t, c: node.Config{Home: filepath.Join(t.TempDir(), "home"), Relay: true, Surfaces: []node.Surface{remote}}}
	if change != nil {
		change(&h.c)
	}
	h.start()
	t.Cleanup(func() { h.end() })
	h.secret = h.key()
	return h
}

func (h *hosting) start() {
	h.Helper()
	var err error
	if h.n, err = node.Open(h.Context(), h.c); err != nil {
		h.Fatal(err)
	}
}

func (h *hosting) end() {
	h.Helper()
	if err := h.n.Close(); err != nil {
		h.Error(err)
	}
}

func (h *hosting) key() *keys.APISecret {
	h.Helper()
	_, s, err := h.n.CreateKey(node.KeyOptions{Kind: keys.KindUser})
	if err != nil {
		h.Fatal(err)
	}
	return s
}

// as returns a client that calls as a user, by a user group key.
func (h *hosting) as(user *keys.Identity, by *keys.APISecret) *Client {
	h.Helper()
	return openRemote(h.T, RemoteOptions{URL: "http://" + h.n.SurfaceAddr(node.SurfaceRemote), User: user, Grant: func(_ context.Context, hub keys.PublicKey) (*keys.Grant, error) {
		return by.Grant(keys.GrantOptions{User: user.Public(), Audience: hub, Issued: time.Now(), Expires: time.Now().Add(time.Hour)})
	}})
}

func (h *hosting) create(c *Client, name string) error {
	_, err := c.Databases.Create(h.Context(), connect.NewRequest(&weftv1.CreateDatabaseRequest{Name: name}))
	return err
}

func (h *hosting) insert(c *Client, name string, doc bson.D) error {
	_, err := c.Documents.Insert(h.Context(), connect.NewRequest(&weftv1.InsertRequest{Database: name, Collection: "c", Documents: [][]byte{document(doc)}}))
	return err
}

func (h *hosting) count(c *Client, name string) (int64, error) {
	r, err := c.Documents.Count(h.Context(), connect.NewRequest(&weftv1.CountRequest{Database: name, Collection: "c"}))
	if err != nil {
		return 0, err
	}
	return r.Msg.GetCount(), nil
}

func (h *hosting) names(c *Client) string {
	h.Helper()
	r, err := c.Databases.List(h.Context(), connect.NewRequest(&weftv1.ListDatabasesRequest{}))
	if err != nil {
		h.Fatal(err)
	}
	var out []string
	for _, d := range r.Msg.GetDatabases() {
		out = append(out, d.GetName())
	}
	return strings.Join(out, ",")
}

// A user of an app has databases at a hub, which are the user's: with any key of the app's
// developer, after a restart, and nobody else's, whatever they are called.
func TestHosted(t *testing.T) {
	h := newHosting(t, nil)
	alice, bob := keys.NewIdentity(), keys.NewIdentity()
	a := h.as(alice, h.secret)
	if err := h.create(a, "notes"); !fault.Is(err, fault.NoDelegation) {
		t.Fatalf("without a delegation: got %v", err)
	}
	for _, x := range []struct {
		c  *Client
		id *keys.Identity
	}{{a, alice}, {h.as(bob, h.secret), bob}} {
		if err := x.c.Delegate(t.Context(), x.id); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(h.create(x.c, "notes"), h.insert(x.c, "notes", bson.D{{Key: "_id", Value: x.id.Public().DID()}})); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.insert(a, "notes", bson.D{{Key: "_id", Value: 2}}); err != nil {
		t.Fatal(err)
	}
	if err := h.create(a, "notes"); !fault.Is(err, fault.AlreadyExists) || strings.Contains(err.Error(), "@") {
		t.Errorf("the name again: %v", err)
	}
	if _, err := h.n.CreateDatabase(t.Context(), "own"); err != nil {
		t.Fatal(err)
	}
	if all := h.n.Databases(); len(all) != 1 || all[0].Name != "own" {
		t.Errorf("the node lists %v", all)
	}
	_, account, err := h.n.CreateKey(node.KeyOptions{Kind: keys.KindAccount})
	if err != nil {
		t.Fatal(err)
	}

	check := func(when string) {
		t.Helper()
		for name, x := range map[string]struct {
			c     *Client
			names string
			count int64
		}{
			"the user":                 {h.as(alice, h.secret), "notes", 2},
			"the user by another key":  {h.as(alice, h.key()), "notes", 2},
			"another user":             {h.as(bob, h.secret), "notes", 1},
			"a user that has nothing":  {h.as(keys.NewIdentity(), h.secret), "", -1},
			"the owner by account key": {openRemote(t, RemoteOptions{URL: "http://" + h.n.SurfaceAddr(node.SurfaceRemote), Secret: account}), "own", -1},
		} {
			if got := h.names(x.c); got != x.names {
				t.Errorf("%s: %s has %q, want %q", when, name, got, x.names)
			}
			got, err := h.count(x.c, "notes")
			if x.count < 0 && !fault.Is(err, fault.NotFound) || x.count >= 0 && (err != nil || got != x.count) {
				t.Errorf("%s: %s counts %d, %v, want %d", when, name, got, err, x.count)
			}
		}
	}
	check("at first")
	h.end()
	h.start()
	check("after a restart")

	// What the owner's identity alone decides the hub does not.
	a = h.as(alice, h.secret)
	_, err = a.Documents.CreateCollection(t.Context(), connect.NewRequest(&weftv1.CreateCollectionRequest{
		Database: "notes", Collection: &weftv1.Collection{Name: "strict", Schema: document(bson.D{{Key: "type", Value: "object"}, {Key: "required", Value: bson.A{"x"}}})},
	}))
	if !fault.Is(err, fault.Role) {
		t.Errorf("a schema: got %v of kind %s", err, fault.KindOf(err))
	}
	if _, err := a.Buckets.Create(t.Context(), connect.NewRequest(&weftv1.CreateBucketRequest{Name: "album"})); err != nil {
		t.Error(err)
	}
	if got := h.names(a); got != "album,notes" {
		t.Errorf("got %s", got)
	}
	if _, err := a.Databases.Remove(t.Context(), connect.NewRequest(&weftv1.RemoveDatabaseRequest{Name: "notes"})); err != nil {
		t.Fatal(err)
	}
	if got := h.names(a); got != "album" {
		t.Errorf("got %s", got)
	}
	if got, err := h.count(h.as(bob, h.secret), "notes"); err != nil || got != 1 {
		t.Errorf("another's of that name: %d, %v", got, err)
	}
}

// A delegation is taken from who calls, of the identity that calls, to the device that the hub has
// for it; and it is what the hub writes by, until it ends.
func TestDelegations(t *testing.T) {
	h := newHosting(t, nil)
	alice, bob := keys.NewIdentity(), keys.NewIdentity()
	a, b := h.as(alice, h.secret), h.as(bob, h.secret)
	offer := func(c *Client) keys.DevicePublic {
		t.Helper()
		r, err := c.Spaces.Offer(t.Context(), connect.NewRequest(&weftv1.OfferRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		sign, err := keys.ParseDID(r.Msg.GetSign())
		if err != nil || r.Msg.GetGeneration() != 1 {
			t.Fatal(r, err)
		}
		return keys.DevicePublic{Sign: sign, Seal: [32]byte(r.Msg.GetSeal())}
	}
	mine, theirs := offer(a), offer(b)
	if mine == theirs || mine.Sign == h.n.Device() || offer(a) != mine {
		t.Errorf("the hub's devices are %v, %v, and its own %s", mine, theirs, h.n.Device())
	}
	send := func(id *keys.Identity, to keys.DevicePublic, change func(*keys.DelegateOptions)) error {
		o := keys.DelegateOptions{Rights: keys.RightCreate, Name: "hub", Issued: time.Now()}
		if change != nil {
			change(&o)
		}
		d, err := id.Delegate(to, o)
		if err != nil {
			t.Fatal(err)
		}
		e, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.Spaces.Delegate(t.Context(), connect.NewRequest(&weftv1.DelegateRequest{Delegation: e}))
		return err
	}
	for name, err := range map[string]error{
		"of another identity":       send(bob, theirs, nil),
		"of another, to mine":       send(bob, mine, nil),
		"to another's device":       send(alice, theirs, nil),
		"to the host's device":      send(alice, keys.DevicePublic{Sign: h.n.Device(), Seal: mine.Seal}, nil),
		"to somebody's device":      send(alice, keys.NewDevice().Public(), nil),
		"without the right to make": send(alice, mine, func(o *keys.DelegateOptions) { o.Rights = keys.RightAdmit }),
		"of another generation":     send(alice, mine, func(o *keys.DelegateOptions) { o.Generation = 2 }),
		"that will be over":         send(alice, mine, func(o *keys.DelegateOptions) { o.Expires = time.Now().Add(time.Hour) }),
		"that is over": send(alice, mine, func(o *keys.DelegateOptions) {
			o.Issued, o.Expires = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		}),
	} {
		if err == nil {
			t.Errorf("a delegation %s is taken", name)
		}
	}
	if err := h.create(a, "notes"); !fault.Is(err, fault.NoDelegation) {
		t.Fatalf("got %v", err)
	}
	if err := send(alice, mine, nil); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.create(a, "notes"), h.insert(a, "notes", bson.D{{Key: "x", Value: 1}})); err != nil {
		t.Fatal(err)
	}
	if err := send(alice, mine, func(o *keys.DelegateOptions) { o.Issued = time.Now().Add(-time.Minute) }); err == nil {
		t.Error("an older delegation takes the place of the one that is there")
	}
	if err := a.Delegate(t.Context(), alice); err != nil {
		t.Error(err)
	}
}

// What one user may keep at a hub is bounded, and takes nothing from another.
func TestHostedIsBounded(t *testing.T) {
	h := newHosting(t, func(c *node.Config) { c.SpaceBytes = 1 << 20 })
	greedy, other := keys.NewIdentity(), keys.NewIdentity()
	g, o := h.as(greedy, h.secret), h.as(other, h.secret)
	for c, id := range map[*Client]*keys.Identity{g: greedy, o: other} {
		if err := errors.Join(c.Delegate(t.Context(), id), h.create(c, "notes")); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	stored := 0
	for err == nil && stored < 100 {
		random := make([]byte, 100<<10)
		for i := range random {
			random[i] = byte(i*stored + i>>3)
		}
		if err = h.insert(g, "notes", bson.D{{Key: "x", Value: fmt.Sprintf("%x%s", random, keys.NewIdentity().Public().DID())}}); err == nil {
			stored++
		}
	}
	if !fault.Is(err, fault.QuotaExceeded) {
		t.Errorf("after %d of 200 KiB: %v", stored, err)
	}
	if err := h.insert(o, "notes", bson.D{{Key: "x", Value: 1}}); err != nil {
		t.Errorf("another user: %v", err)
	}
	if n, err := h.count(g, "notes"); err != nil || int(n) != stored {
		t.Errorf("got %d, %v", n, err)
	}
	// A stream ends where there is no room for more of it, however much it brings.
	if _, err := o.Buckets.Create(t.Context(), connect.NewRequest(&weftv1.CreateBucketRequest{Name: "album", Database: "notes"})); err != nil {
		t.Fatal(err)
	}
	in := o.Buckets.Push(t.Context())
	sent := in.Send(&weftv1.PushRequest{Bucket: "notes/album", Files: []*weftv1.FileChunk{{Path: "a.bin", Size: 64 << 20, Data: make([]byte, 256<<10)}}})
	for i := 0; sent == nil && i < 255; i++ {
		sent = in.Send(&weftv1.PushRequest{Files: []*weftv1.FileChunk{{Data: make([]byte, 256<<10)}}})
	}
	if _, err := in.CloseAndReceive(); !fault.Is(err, fault.QuotaExceeded) {
		t.Errorf("a push of 64 MiB: %v of kind %s", err, fault.KindOf(err))
	}
	if _, err := g.Databases.Remove(t.Context(), connect.NewRequest(&weftv1.RemoveDatabaseRequest{Name: "notes"})); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.create(g, "notes"), h.insert(g, "notes", bson.D{{Key: "x", Value: 1}})); err != nil {
		t.Errorf("after it gave room: %v", err)
	}
}

// A backup of a hub has what it hosts and by what it writes it. A hub whose master key is gone makes
// no other one in its place, and tells of each database that it cannot open.
func TestHostedKept(t *testing.T) {
	h := newHosting(t, nil)
	user := keys.NewIdentity()
	c := h.as(user, h.secret)
	if err := errors.Join(c.Delegate(t.Context(), user), h.create(c, "notes"), h.insert(c, "notes", bson.D{{Key: "x", Value: 1}})); err != nil {
		t.Fatal(err)
	}
	var backup bytes.Buffer
	if _, err := h.n.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	h.end()
	first := h.c.Home
	h.c.Home = filepath.Join(t.TempDir(), "restored")
	if _, err := node.Restore(t.Context(), &backup, node.RestoreOptions{Home: h.c.Home}); err != nil {
		t.Fatal(err)
	}
	h.start()
	c = h.as(user, h.secret)
	if err := h.insert(c, "notes", bson.D{{Key: "x", Value: 2}}); err != nil {
		t.Error(err)
	}
	if n, err := h.count(c, "notes"); err != nil || n != 2 {
		t.Errorf("got %d, %v", n, err)
	}
	h.end()

	h.c.Home = first
	if err := os.Remove(filepath.Join(first, "hub.key")); err != nil {
		t.Fatal(err)
	}
	h.start()
	c = h.as(user, h.secret)
	if _, err := h.count(c, "notes"); !fault.Is(err, fault.Corrupt) || strings.Contains(err.Error(), "@") {
		t.Errorf("without the master key: %v of kind %s", err, fault.KindOf(err))
	}
	if err := c.Delegate(t.Context(), user); !fault.Is(err, fault.Corrupt) {
		t.Errorf("another master key is made: %v", err)
	}
	if _, err := os.Stat(filepath.Join(first, "hub.key")); err == nil {
		t.Error("another master key was made")
	}
}
