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

// A City is a document.
type City struct {
	ID         string `bson:"_id,omitempty"` // one is made if it is empty
	Name       string `bson:"name"`
	Population int64  `bson:"population"`
}

// A program embeds a node, and reads and writes documents.
func Example() {
	ctx := context.Background()
	home, err := os.MkdirTemp("", "weft")
	check(err)
	defer os.RemoveAll(home)

	n, err := node.Open(ctx, node.Config{Home: home})
	check(err)
	defer n.Close()
	atlas, err := n.CreateDatabase(ctx, "atlas") // the next time: n.Database
	check(err)
	cities := db.Of[City](atlas.Collection("cities"))
	_, err = cities.Insert(ctx, City{Name: "Vaduz", Population: 5774}) // on disk when it returns
	check(err)
	for city, err := range cities.Find(ctx, bson.M{"name": "Vaduz"}, db.FindOptions{}) {
		check(err)
		fmt.Println(city.Name, city.Population)
	}
	// Output: Vaduz 5774
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
