package node_test

import (
	"context"
	"fmt"
	"time"

	connectrpc "connectrpc.com/connect"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
	"github.com/weftdb/weft/node/client"
	"github.com/weftdb/weft/node/rpc"
)

// newHub runs a hub in this process and returns its address and the secret of a user group key.
func newHub() (url string, secret *keys.APISecret, done func()) {
	remote, err := rpc.Remote(rpc.RemoteOptions{Addr: "127.0.0.1:0"})
	check(err)
	hub, done := newNode(node.Config{Relay: true, Surfaces: []node.Surface{remote}})
	_, secret, err = hub.CreateKey(node.KeyOptions{Kind: keys.KindUser, Name: "my app"})
	check(err)
	return "http://" + hub.SurfaceAddr(node.SurfaceRemote), secret, done
}

// A user of an app has a database at a hub. The app has no secret: its backend grants the user the
// use of the app's key, and the user's identity signs.
func Example_hub() {
	ctx := context.Background()
	hub, secret, done := newHub()
	defer done()

	user := keys.NewIdentity()
	backend := func(_ context.Context, audience keys.PublicKey) (*keys.Grant, error) {
		return secret.Grant(keys.GrantOptions{User: user.Public(), Audience: audience, Issued: time.Now(), Expires: time.Now().Add(time.Hour)})
	}
	c, err := client.OpenRemote(client.RemoteOptions{URL: hub, User: user, Grant: backend})
	check(err)
	defer func() { check(c.Close()) }()

	check(c.Delegate(ctx, user))
	_, err = c.Databases.Create(ctx, connectrpc.NewRequest(&weftv1.CreateDatabaseRequest{Name: "notes"}))
	check(err)
	note, err := bson.Marshal(bson.M{"title": "Buy milk"})
	check(err)
	_, err = c.Documents.Insert(ctx, connectrpc.NewRequest(&weftv1.InsertRequest{Database: "notes", Collection: "todo", Documents: [][]byte{note}}))
	check(err)
	r, err := c.Documents.Count(ctx, connectrpc.NewRequest(&weftv1.CountRequest{Database: "notes", Collection: "todo"}))
	check(err)
	fmt.Println("notes of the user:", r.Msg.GetCount())
	// Output: notes of the user: 1
}
