// Package adversary attacks real nodes: a stranger, a reader, a writer, an admin, a member
// that was removed, a relay and a sender of messages, each played by code that writes
// whatever bytes it likes. It is tests only.
//
//	villain      keys, a libp2p host, and what it was told of a thread: it fetches as a
//	             subscriber does, serves what it made up, and forges records of its logs
//	node.Node    the honest side, as it is shipped, with its store on disk
//
// Each attack is a row of the table in docs/design/threats.md, which [TestAdversary] writes
// with WEFT_UPDATE=1: what was tried, what happened as it was asserted, what remains.
package adversary

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/inbox"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/node"
)

// name is what all nodes call the database under attack, things its collection.
const (
	name   = "atlas"
	things = "things"
)

// within bounds how long a test waits for an event.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// must ends the test if there is an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until something holds that other goroutines bring about.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	ctx := within(t)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !is() {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatal("not so: " + what)
		}
	}
}

// openNode opens an honest node, in a folder of its own unless c names one.
func openNode(t testing.TB, c node.Config) *node.Node {
	t.Helper()
	if c.Home == "" {
		c.Home = filepath.Join(t.TempDir(), "home")
	}
	c.ScrubEvery, c.Idle = -1, -1
	n, err := node.Open(t.Context(), c)
	must(t, err)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// An owner is an honest node that made the database.
func newOwner(t testing.TB) *node.Node {
	t.Helper()
	n := openNode(t, node.Config{})
	_, err := n.CreateDatabase(t.Context(), name)
	must(t, err)
	return n
}

func invite(t testing.TB, n *node.Node, o node.InviteOptions) string {
	t.Helper()
	url, err := n.Invite(t.Context(), name, o)
	must(t, err)
	return url
}

// newMember is an honest node that joined by way of another.
func newMember(t testing.TB, by *node.Node) *node.Node {
	t.Helper()
	n := openNode(t, node.Config{})
	joinBy(t, n, by, invite(t, by, node.InviteOptions{}))
	return n
}

func joinBy(t testing.TB, n, by *node.Node, url string) {
	t.Helper()
	connect(t, n, by)
	_, err := n.Join(within(t), url, name)
	must(t, err)
	eventually(t, "the member is known", func() bool { return isMember(t, by, n.Device()) })
	synced(t, n, by)
}

func connect(t testing.TB, n, to *node.Node) {
	t.Helper()
	must(t, n.Connect(within(t), to.Addrs()[0]))
}

// synced waits until two nodes say of each other that they have the same.
func synced(t testing.TB, a, b *node.Node) {
	t.Helper()
	becomes(t, a, b.Peer(), "identical")
	becomes(t, b, a.Peer(), "identical")
}

// becomes waits until a peer is in a state for the database of n.
func becomes(t testing.TB, n *node.Node, p peer.ID, state string) node.PeerStatus {
	t.Helper()
	ctx := within(t)
	for {
		s, changed, err := n.DatabaseStatus(ctx, name)
		must(t, err)
		for _, ps := range s.Peers {
			if ps.Peer == p && string(ps.State) == state {
				return ps
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("peer %s is not %s: %+v", p, state, s.Peers)
		}
	}
}

func database(t testing.TB, n *node.Node) *db.DB {
	t.Helper()
	d, err := n.Database(t.Context(), name)
	must(t, err)
	return d
}

func members(t testing.TB, n *node.Node) []node.Member {
	t.Helper()
	all, err := n.Members(name)
	must(t, err)
	return all
}

func isMember(t testing.TB, n *node.Node, device keys.PublicKey) bool {
	t.Helper()
	return slices.ContainsFunc(members(t, n), func(m node.Member) bool { return m.Device == device })
}

func roleOf(t testing.TB, n *node.Node, device keys.PublicKey) format.Role {
	t.Helper()
	for _, m := range members(t, n) {
		if m.Device == device {
			return m.Role
		}
	}
	return 0
}

func info(t testing.TB, n *node.Node) node.DatabaseInfo {
	t.Helper()
	i, err := n.DatabaseInfo(t.Context(), name)
	must(t, err)
	return i
}

func document(t testing.TB, d bson.D) bson.Raw {
	t.Helper()
	b, err := bson.Marshal(d)
	must(t, err)
	return b
}

// insert writes documents with ids as an honest node does.
func insert(t testing.TB, n *node.Node, ids ...string) {
	t.Helper()
	for _, id := range ids {
		_, err := database(t, n).Collection(things).Insert(t.Context(), document(t, bson.D{{Key: "_id", Value: id}, {Key: "owner", Value: n.Identity().DID()}}))
		must(t, err)
	}
}

func has(t testing.TB, n *node.Node, id string) bool {
	t.Helper()
	_, err := database(t, n).Collection(things).Get(t.Context(), id)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func count(t testing.TB, n *node.Node) int64 {
	t.Helper()
	c, err := database(t, n).Collection(things).Count(t.Context(), nil)
	must(t, err)
	return c
}

// payloads returns what a writer would put into its log for what it does to a database of
// its own, where nobody refuses it: a record a call.
func payloads(t testing.TB, do ...func(d *db.DB) error) (all [][]byte) {
	t.Helper()
	r, j := dbtest.Open(t, "villain")
	for _, f := range do {
		must(t, f(r.DB))
	}
	es, err := j.Entries()
	must(t, err)
	for _, e := range es {
		all = append(all, e.Payload)
	}
	return all
}

// inserts returns payloads that insert documents.
func inserts(t testing.TB, ids ...string) [][]byte {
	t.Helper()
	var do []func(d *db.DB) error
	for _, id := range ids {
		do = append(do, func(d *db.DB) error {
			_, err := d.Collection(things).Insert(t.Context(), document(t, bson.D{{Key: "_id", Value: id}}))
			return err
		})
	}
	return payloads(t, do...)
}

// peerOf is the peer ID of a device.
func peerOf(t testing.TB, n *node.Node) peer.AddrInfo {
	t.Helper()
	a, err := parseAddr(n.Addrs()[0])
	must(t, err)
	return a
}

// errBanned says that a node hung up.
var errBanned = errors.New("the node hung up")

func newULID(t testing.TB) inbox.ID {
	t.Helper()
	id, err := ulid.New(ulid.Now(), rand.Reader)
	must(t, err)
	return id
}
