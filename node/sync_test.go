package node_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/fstest"
	"time"

	"github.com/multiformats/go-multiaddr"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/buckets"
	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/inbox"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
)

const patience = 30 * time.Second

// A town is a relay with a key, and devices that use it.
type town struct {
	t       *testing.T
	relay   *node.Node
	addr    string
	key     *keys.APIKey
	options node.RelayOptions
}

func newTown(t *testing.T) *town {
	t.Helper()
	return newTownOf(t, open(t, node.Config{Relay: true}))
}

func newTownOf(t *testing.T, relay *node.Node) *town {
	t.Helper()
	w := &town{t: t, relay: relay}
	key, secret, err := w.relay.CreateKey(node.KeyOptions{Kind: keys.KindUser})
	if err != nil {
		t.Fatal(err)
	}
	w.key, w.options = key, node.RelayOptions{Key: key.Text(), Secret: secret.Text()}
	w.addr = w.relay.Addrs()[0]
	return w
}

// ports returns addresses to listen at again, without the peer ID.
func ports(t *testing.T, addrs []string) (out []string) {
	t.Helper()
	for _, text := range addrs {
		a, err := multiaddr.NewMultiaddr(text)
		if err != nil {
			t.Fatal(err)
		}
		at, _ := multiaddr.SplitLast(a)
		out = append(out, at.String())
	}
	return out
}

func closeAll(nodes ...*node.Node) (err error) {
	for _, n := range nodes {
		err = errors.Join(err, n.Close())
	}
	return err
}

func (w *town) device(o node.RelayOptions) *node.Node {
	w.t.Helper()
	return w.deviceIn("", o)
}

// deviceIn is device with its home in a folder.
func (w *town) deviceIn(home string, o node.RelayOptions) *node.Node {
	w.t.Helper()
	n := open(w.t, node.Config{Home: home})
	if _, err := n.AddRelay(w.t.Context(), w.addr, o); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// becomes waits until the relay is in a state for a database of n.
func (w *town) becomes(n *node.Node, name, state string) node.PeerStatus {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for {
		s, changed, err := n.DatabaseStatus(ctx, name)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, p := range s.Peers {
			if p.Peer == w.relay.Peer() && string(p.State) == state {
				return p
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			w.t.Fatalf("the relay is not %s: %+v", state, s.Peers)
		}
	}
}

func (w *town) insert(n *node.Node, name string, d bson.D) {
	w.t.Helper()
	fold, err := n.Database(w.t.Context(), name)
	if err == nil {
		_, err = fold.Collection("things").Insert(w.t.Context(), document(d))
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// A message brings an invite; who joins has the documents and the files, and
// writes back, while the other device is away.
func TestOfflineByRelay(t *testing.T) {
	w := newTown(t)
	ctx := t.Context()
	a, b := w.device(w.options), w.device(w.options)
	address, err := b.SetupInbox(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.CreateDatabase(ctx, "atlas"); err != nil {
		t.Fatal(err)
	}
	w.insert(a, "atlas", bson.D{{Key: "_id", Value: 1}})
	bucket, ref, err := a.CreateBucket(ctx, "album", "atlas")
	if err != nil {
		t.Fatal(err)
	}
	file := bytes.Repeat([]byte("Weft "), 200_000)
	if _, err := bucket.Push(ctx, fstest.MapFS{"a/b.txt": {Data: file}}, buckets.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	url, err := a.Invite(ctx, "atlas", node.InviteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	post, err := a.Inbox(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := post.Send(ctx, inbox.Address{Identity: b.Identity(), At: address.At}, []byte(url)); err != nil {
		t.Fatal(err)
	}
	if err := post.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	w.becomes(a, "atlas", "identical")
	home := a.Home()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}

	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	mail, err := b.Messages(short, 1)
	if err != nil {
		t.Fatal(err)
	}
	if mail[0].From != a.Identity() {
		t.Errorf("got a message from %s, want %s", mail[0].From, a.Identity())
	}
	if _, err := b.Join(ctx, string(mail[0].Body), ""); err != nil {
		t.Fatal(err)
	}
	w.becomes(b, "atlas", "identical")
	theirs, err := b.Bucket(ctx, ref.Database+"/"+ref.Name)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := theirs.Cat(ctx, "a/b.txt", &got, buckets.Whole); err != nil || !bytes.Equal(got.Bytes(), file) {
		t.Errorf("got %d bytes and %v, want %d", got.Len(), err, len(file))
	}
	w.insert(b, "atlas", bson.D{{Key: "_id", Value: 2}})
	w.becomes(b, "atlas", "identical")
	want, err := b.DatabaseInfo(ctx, "atlas")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	a = open(t, node.Config{Home: home})
	w.becomes(a, "atlas", "identical")
	back, err := a.DatabaseInfo(ctx, "atlas")
	if err != nil {
		t.Fatal(err)
	}
	if back.Hash != want.Hash || back.ID != want.ID || back.Documents != want.Documents {
		t.Errorf("A has %+v, B had %+v", back, want)
	}
}

// Each refusal reaches the status with its code, and nothing is kept.
func TestRefusals(t *testing.T) {
	w := newTown(t)
	revoked, secret, err := w.relay.CreateKey(node.KeyOptions{Kind: keys.KindUser})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.relay.RevokeKey(revoked.Public); err != nil {
		t.Fatal(err)
	}
	scoped, scopedSecret, err := w.relay.CreateKey(node.KeyOptions{Kind: keys.KindUser, Scopes: []keys.Scope{keys.ScopeInbox}})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := open(t, node.Config{})
	unknown, unknownSecret, err := elsewhere.CreateKey(node.KeyOptions{Kind: keys.KindUser})
	if err != nil {
		t.Fatal(err)
	}
	account, accountSecret, err := w.relay.CreateKey(node.KeyOptions{Kind: keys.KindAccount})
	if err != nil {
		t.Fatal(err)
	}
	for code, o := range map[keys.Code]node.RelayOptions{
		keys.CodeNoCredential: {},
		keys.CodeKeyRevoked:   {Key: revoked.Text(), Secret: secret.Text()},
		keys.CodeWrongScope:   {Key: scoped.Text(), Secret: scopedSecret.Text()},
		keys.CodeKeyUnknown:   {Key: unknown.Text(), Secret: unknownSecret.Text()},
		keys.CodeWrongUser:    {Key: account.Text(), Secret: accountSecret.Text()},
		keys.CodeBadSignature: {Key: w.key.Text()}, // a signing key without its secret
	} {
		n := w.device(o)
		if _, err := n.CreateDatabase(t.Context(), "sneak"); err != nil {
			t.Fatal(err)
		}
		w.insert(n, "sneak", bson.D{{Key: "_id", Value: 1}})
		if p := w.becomes(n, "sneak", "refused"); p.Code != code || p.Reason == "" {
			t.Errorf("got %s, %q; want %s", p.Code, p.Reason, code)
		}
	}
	if kept := w.relay.Kept(); kept != 0 {
		t.Errorf("the relay keeps %d threads, want none", kept)
	}
}

// Revoking a key ends what it allowed; another key of the same owner gives the
// data back.
func TestRevokeAndReplaceKey(t *testing.T) {
	w := newTown(t)
	n := w.device(w.options)
	if _, err := n.CreateDatabase(t.Context(), "mine"); err != nil {
		t.Fatal(err)
	}
	w.insert(n, "mine", bson.D{{Key: "_id", Value: 1}})
	w.becomes(n, "mine", "identical")
	if _, err := w.relay.RevokeKey(w.key.Public); err != nil {
		t.Fatal(err)
	}
	if p := w.becomes(n, "mine", "refused"); p.Code != keys.CodeKeyRevoked {
		t.Errorf("got %s, want key_revoked", p.Code)
	}
	w.insert(n, "mine", bson.D{{Key: "_id", Value: 2}})
	k, secret, err := w.relay.CreateKey(node.KeyOptions{Kind: keys.KindUser})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.AddRelay(t.Context(), w.addr, node.RelayOptions{Key: k.Text(), Secret: secret.Text()}); err != nil {
		t.Fatal(err)
	}
	w.becomes(n, "mine", "identical")
}

// A relay that is for some databases gets no others.
func TestRelayForSome(t *testing.T) {
	w := newTown(t)
	n := open(t, node.Config{})
	for _, name := range []string{"public", "private"} {
		if _, err := n.CreateDatabase(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		w.insert(n, name, bson.D{{Key: "_id", Value: 1}})
	}
	o := w.options
	o.Databases = []string{"public"}
	if _, err := n.AddRelay(t.Context(), w.addr, o); err != nil {
		t.Fatal(err)
	}
	w.becomes(n, "public", "identical")
	if _, err := n.CreateDatabase(t.Context(), "later"); err != nil {
		t.Fatal(err)
	}
	w.insert(n, "later", bson.D{{Key: "_id", Value: 1}})
	w.insert(n, "public", bson.D{{Key: "_id", Value: 2}})
	w.becomes(n, "public", "identical")
	if kept := w.relay.Kept(); kept != 1 {
		t.Errorf("the relay keeps %d threads, want 1", kept)
	}
	s, _, err := n.DatabaseStatus(t.Context(), "private")
	if err != nil || len(s.Peers) != 0 {
		t.Errorf("got %+v and %v, want no peers", s.Peers, err)
	}
	if err := n.RemoveRelay(t.Context(), w.addr); err != nil {
		t.Fatal(err)
	}
	if relays, err := n.Relays(); err != nil || len(relays) != 0 {
		t.Errorf("got %v and %v, want no relays", relays, err)
	}
}

// What a removed database held is gone, and its name is free.
func TestRemoveDatabase(t *testing.T) {
	n := open(t, node.Config{})
	ctx := t.Context()
	for range 2 {
		d, err := n.CreateDatabase(ctx, "atlas")
		if err != nil {
			t.Fatal(err)
		}
		if count, err := d.Collection("things").Count(ctx, document(bson.D{})); err != nil || count != 0 {
			t.Fatalf("a new database: got %d and %v, want 0", count, err)
		}
		if _, err := d.Collection("things").Insert(ctx, document(bson.D{{Key: "_id", Value: 1}})); err != nil {
			t.Fatal(err)
		}
		if err := n.RemoveDatabase(ctx, "atlas"); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Collection("things").Count(ctx, document(bson.D{})); !errors.Is(err, db.ErrClosed) {
			t.Errorf("a removed database: got %v, want ErrClosed", err)
		}
		if _, err := n.Database(ctx, "atlas"); !errors.Is(err, node.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	}
}
