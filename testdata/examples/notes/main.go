// Notes is a whole program on Weft: Ann and Ben share notes and files through a relay that can
// read neither. Run it with go run ./testdata/examples/notes; docs/guide/embed.md explains it.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/buckets"
	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
)

// A Note is one document.
type Note struct {
	ID    string   `bson:"_id,omitempty"` // one is made if it is empty
	Title string   `bson:"title"`
	Tags  []string `bson:"tags"`
	Done  bool     `bson:"done"`
}

func main() {
	ctx := context.Background()
	dir := must(os.MkdirTemp("", "notes"))
	defer os.RemoveAll(dir)
	open := func(name string) *node.Node {
		return must(node.Open(ctx, node.Config{Home: filepath.Join(dir, name), Relay: name == "relay"}))
	}

	// A relay is a node that keeps sealed records for whoever has a key of it.
	relay := open("relay")
	defer relay.Close()
	key, secret, err := relay.CreateKey(node.KeyOptions{Kind: keys.KindUser, Name: "notes"})
	check(err)
	device := func(name string) *node.Node {
		n := open(name)
		must(n.AddRelay(ctx, relay.Addrs()[0], node.RelayOptions{Key: key.Text(), Secret: secret.Text()}))
		return n
	}

	// Ann makes a database: a collection with a schema and an index, and a bucket of files.
	ann := device("ann")
	book := must(ann.CreateDatabase(ctx, "notes"))
	check(book.CreateCollection(ctx, "notes", db.CollectionOptions{
		Schema: bson.M{
			"required":   bson.A{"title"},
			"properties": bson.M{"title": bson.M{"type": "string", "maxLength": 20}},
		},
		Indexes: []db.Index{{Keys: []db.IndexKey{{Path: "tags"}}}},
	}))
	notes := db.Of[Note](book.Collection("notes"))
	must(notes.Insert(ctx,
		Note{Title: "Buy milk", Tags: []string{"shop"}},
		Note{Title: "Buy bread", Tags: []string{"shop"}},
		Note{Title: "Call Ben", Tags: []string{"phone"}}))
	_, err = notes.Insert(ctx, Note{Title: "A title of more than 20 characters"})
	fmt.Println("Against the schema:", errors.Is(err, db.ErrSchema))
	files, _, err := ann.CreateBucket(ctx, "files", "notes")
	check(err)
	must(files.PutFile(ctx, "shops/near.txt", strings.NewReader("the one at the corner\n")))

	// Ben has an inbox at the relay. Ann sends him an invite and goes offline.
	ben := device("ben")
	address := must(ben.SetupInbox(ctx))
	invite := must(ann.Invite(ctx, "notes", node.InviteOptions{Role: "writer"}))
	outbox := must(ann.Inbox(ctx))
	must(outbox.Send(ctx, address, []byte(invite)))
	check(outbox.Flush(ctx))
	check(ann.WaitSynced(ctx, "notes"))
	check(ann.Close())

	// Ben joins through the relay, and has everything.
	messages := must(ben.Messages(ctx, 1))
	must(ben.Join(ctx, string(messages[0].Body), ""))
	check(ben.WaitSynced(ctx, "notes"))
	bens := db.Of[Note](must(ben.Database(ctx, "notes")).Collection("notes"))
	for note, err := range bens.Find(ctx, bson.M{"tags": "shop"}, db.FindOptions{Sort: bson.M{"title": 1}}) {
		check(err)
		fmt.Println("Ben reads:", note.Title)
	}
	check(must(ben.Bucket(ctx, "files")).Cat(ctx, "shops/near.txt", os.Stdout, buckets.Whole))

	// Ann is back. Her screen shows what is to be done, and follows what Ben does.
	ann = open("ann")
	notes = db.Of[Note](must(ann.Database(ctx, "notes")).Collection("notes"))
	screen := must(notes.Live(ctx, bson.M{"done": false}, db.FindOptions{Sort: bson.M{"title": 1}}))
	fmt.Println("Ann sees:", titles(screen.Result()))
	must(bens.Update(ctx, bson.M{"title": "Buy milk"}, bson.M{"$set": bson.M{"done": true}}, db.UpdateOptions{}))
	must(screen.Next(ctx))
	fmt.Println("Ann sees:", titles(screen.Result()))
	screen.Close()
	check(errors.Join(ann.Close(), ben.Close()))
}

func titles(notes []Note) (out []string) {
	for _, n := range notes {
		out = append(out, n.Title)
	}
	return out
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	check(err)
	return v
}
