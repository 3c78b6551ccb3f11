package node_test

import (
	"bytes"
	"context"
	"fmt"
	"testing/fstest"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/buckets"
	"github.com/weftdb/weft/inbox"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
)

// newRelay runs a relay in this process and returns its address and a key of it.
func newRelay() (addr string, o node.RelayOptions, done func()) {
	relay, done := newNode(node.Config{Relay: true})
	key, secret, err := relay.CreateKey(node.KeyOptions{Kind: keys.KindUser})
	check(err)
	return relay.Addrs()[0], node.RelayOptions{Key: key.Text(), Secret: secret.Text()}, done
}

// Any node can be a relay: it stores ciphertext for whoever presents an API key
// of it. The secret of the key is shown only here.
func Example_relay() {
	ctx := context.Background()
	relay, done := newNode(node.Config{Relay: true})
	defer done()
	key, secret, err := relay.CreateKey(node.KeyOptions{Kind: keys.KindUser, Name: "my app"})
	check(err)

	device, done := newNode(node.Config{})
	defer done()
	_, err = device.AddRelay(ctx, relay.Addrs()[0], node.RelayOptions{Key: key.Text(), Secret: secret.Text()})
	check(err)
	_, err = device.CreateDatabase(ctx, "atlas")
	check(err)
	check(device.WaitSynced(ctx, "atlas"))
	fmt.Println("threads at the relay:", relay.Kept())
	// Output: threads at the relay: 1
}

// Two devices share a database and never meet: the first leaves, the second
// joins through the relay.
func Example_joinThroughRelay() {
	ctx := context.Background()
	addr, key, done := newRelay()
	defer done()

	a, leave := newNode(node.Config{})
	_, err := a.AddRelay(ctx, addr, key)
	check(err)
	atlas, err := a.CreateDatabase(ctx, "atlas")
	check(err)
	_, err = atlas.Collection("cities").Insert(ctx, bson.M{"name": "Vaduz"})
	check(err)
	invite, err := a.Invite(ctx, "atlas", node.InviteOptions{})
	check(err)
	check(a.WaitSynced(ctx, "atlas"))
	leave()

	b, done := newNode(node.Config{})
	defer done()
	_, err = b.AddRelay(ctx, addr, key)
	check(err)
	_, err = b.Join(ctx, invite, "")
	check(err)
	check(b.WaitSynced(ctx, "atlas"))
	atlas, err = b.Database(ctx, "atlas")
	check(err)
	count, err := atlas.Collection("cities").Count(ctx, nil)
	check(err)
	fmt.Println("cities at B:", count)
	// Output: cities at B: 1
}

// A bucket is a folder of files. Its root names the content: the same files give
// the same CID on every device.
func Example_bucket() {
	ctx := context.Background()
	n, done := newNode(node.Config{})
	defer done()
	album, _, err := n.CreateBucket(ctx, "album", "")
	check(err)

	files := fstest.MapFS{
		"notes/first.txt": {Data: []byte("hello\n")},
		"photo.jpg":       {Data: []byte{0xff, 0xd8}},
	}
	report, err := album.Push(ctx, files, buckets.PushOptions{})
	check(err)
	fmt.Println(report.Added, "files added")
	var text bytes.Buffer
	check(album.Cat(ctx, "notes/first.txt", &text, buckets.Whole))
	fmt.Print(text.String())
	root, err := album.Root(ctx)
	check(err)
	fmt.Println(root)
	// Output:
	// 2 files added
	// hello
	// bafybeiglxai3vbydn4xhqt5ibvk7lv6xakkea33nzn5y6gxgem5dnckhvi
}

// A message is sealed for its recipient and waits at the recipient's relay.
func Example_inbox() {
	ctx := context.Background()
	addr, key, done := newRelay()
	defer done()
	alice, done := newNode(node.Config{})
	defer done()
	bob, done := newNode(node.Config{})
	defer done()
	for _, n := range []*node.Node{alice, bob} {
		_, err := n.AddRelay(ctx, addr, key)
		check(err)
	}
	to, err := bob.SetupInbox(ctx)
	check(err)

	box, err := alice.Inbox(ctx)
	check(err)
	_, err = box.Send(ctx, inbox.Address{Identity: to.Identity, At: to.At}, []byte("hello"))
	check(err)
	check(box.Flush(ctx))

	messages, err := bob.Messages(ctx, 1) // waits for one
	check(err)
	fmt.Println(messages[0].From == alice.Identity(), string(messages[0].Body))
	// Output: true hello
}

// Nodes in memory are for tests: they keep nothing, and exchange as others do.
func Example_inMemory() {
	ctx := context.Background()
	a, err := node.Open(ctx, node.Config{Memory: true})
	check(err)
	defer a.Close()
	b, err := node.Open(ctx, node.Config{Memory: true})
	check(err)
	defer b.Close()
	check(b.Connect(ctx, a.Addrs()[0]))

	_, err = a.CreateDatabase(ctx, "atlas")
	check(err)
	invite, err := a.Invite(ctx, "atlas", node.InviteOptions{})
	check(err)
	_, err = b.Join(ctx, invite, "")
	check(err)
	atlas, err := b.Database(ctx, "atlas")
	check(err)
	_, err = atlas.Collection("cities").Insert(ctx, bson.M{"name": "Vaduz"})
	check(err)
	check(b.WaitSynced(ctx, "atlas"))
	atlas, err = a.Database(ctx, "atlas")
	check(err)
	count, err := atlas.Collection("cities").Count(ctx, nil)
	check(err)
	fmt.Println("cities at A:", count)
	// Output: cities at A: 1
}
