package node_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/node"
)

// A program embeds a node, and reads and writes documents.
func Example() {
	ctx := context.Background()
	home, err := os.MkdirTemp("", "weft")
	check(err)
	defer os.RemoveAll(home)

	n, err := node.Open(ctx, node.Config{Home: home})
	check(err)
	defer n.Close()
	atlas, err := n.CreateDatabase(ctx, "atlas")
	check(err)
	cities := atlas.Collection("cities")
	_, err = cities.Insert(ctx, bson.M{"name": "Vaduz", "population": 5774})
	check(err)
	found, err := cities.Find(ctx, db.FindOptions{Filter: bson.M{"name": "Vaduz"}})
	check(err)
	defer found.Close()
	for found.Next() {
		fmt.Println(found.Raw().Lookup("population"))
	}
	// Output: {"$numberInt":"5774"}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
