package node_test

import (
	"context"
	"fmt"
	"os"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/node"
)

// newNode opens a node in a folder of its own; the caller owes done.
func newNode(c node.Config) (n *node.Node, done func()) {
	home, err := os.MkdirTemp("", "weft")
	check(err)
	c.Home = home
	n, err = node.Open(context.Background(), c)
	check(err)
	return n, func() {
		check(n.Close())
		check(os.RemoveAll(home))
	}
}

// A node holds its data folder alone. What one has written, the next finds.
func ExampleOpen() {
	ctx := context.Background()
	home, err := os.MkdirTemp("", "weft")
	check(err)
	defer os.RemoveAll(home)

	n, err := node.Open(ctx, node.Config{Home: home})
	check(err)
	_, err = n.CreateDatabase(ctx, "atlas")
	check(err)
	check(n.Close())

	n, err = node.Open(ctx, node.Config{Home: home})
	check(err)
	defer n.Close()
	for _, d := range n.Databases() {
		fmt.Println(d.Name)
	}
	// Output: atlas
}

// Documents are BSON, so structs go in and come out by their bson tags.
func Example_typedDocuments() {
	ctx := context.Background()
	n, done := newNode(node.Config{})
	defer done()
	atlas, err := n.CreateDatabase(ctx, "atlas")
	check(err)
	cities := db.Of[City](atlas.Collection("cities"))

	ids, err := cities.Insert(ctx, City{Name: "Vaduz", Population: 5774})
	check(err)
	city, err := cities.Get(ctx, ids[0])
	check(err)
	fmt.Println(city.Name, city.Population, len(city.ID))
	// Output: Vaduz 5774 26
}

// A transaction reads one moment and its own writes; if the function fails,
// nothing of it is written.
func Example_transaction() {
	ctx := context.Background()
	n, done := newNode(node.Config{})
	defer done()
	bank, err := n.CreateDatabase(ctx, "bank")
	check(err)
	accounts := bank.Collection("accounts")
	_, err = accounts.Insert(ctx,
		bson.D{{Key: "_id", Value: "a"}, {Key: "cents", Value: 100}},
		bson.D{{Key: "_id", Value: "b"}, {Key: "cents", Value: 0}})
	check(err)

	move := func(cents int) error {
		return bank.Transaction(ctx, db.TxOptions{Atomic: true}, func(tx *db.Tx) error {
			enough := bson.D{{Key: "_id", Value: "a"}, {Key: "cents", Value: bson.D{{Key: "$gte", Value: cents}}}}
			res, err := tx.Update("accounts", enough, bson.D{{Key: "$inc", Value: bson.D{{Key: "cents", Value: -cents}}}}, db.UpdateOptions{})
			if err != nil {
				return err
			}
			if res.Matched == 0 {
				return fmt.Errorf("a has less than %d cents", cents)
			}
			_, err = tx.Update("accounts", bson.D{{Key: "_id", Value: "b"}}, bson.D{{Key: "$inc", Value: bson.D{{Key: "cents", Value: cents}}}}, db.UpdateOptions{})
			return err
		})
	}
	fmt.Println(move(70))
	fmt.Println(move(70))
	all, err := accounts.Find(ctx, nil, db.FindOptions{})
	check(err)
	defer all.Close()
	for all.Next() {
		fmt.Println(all.Raw().Lookup("_id").StringValue(), all.Raw().Lookup("cents").AsInt64())
	}
	// Output:
	// <nil>
	// a has less than 70 cents
	// a 30
	// b 70
}

// An index answers filters and sorts on its fields; Explain says which one a
// query uses.
func Example_indexAndFind() {
	ctx := context.Background()
	n, done := newNode(node.Config{})
	defer done()
	shop, err := n.CreateDatabase(ctx, "shop")
	check(err)
	orders := shop.Collection("orders")
	var docs []bson.D
	for i := range 1000 {
		docs = append(docs, bson.D{{Key: "_id", Value: i}, {Key: "cents", Value: i % 500}})
	}
	_, err = orders.Insert(ctx, docs)
	check(err)
	_, err = orders.CreateIndex(ctx, db.Index{Keys: []db.IndexKey{{Path: "cents", Desc: true}}})
	check(err)

	filter := bson.D{{Key: "cents", Value: bson.D{{Key: "$gte", Value: 498}}}}
	top := db.FindOptions{Sort: bson.D{{Key: "cents", Value: -1}}, Limit: 3}
	found, err := orders.Find(ctx, filter, top)
	check(err)
	defer found.Close()
	for found.Next() {
		fmt.Println(found.Raw().Lookup("cents").AsInt64())
	}
	check(found.Err())
	explained, err := orders.Explain(ctx, filter, top, false)
	check(err)
	plan := explained.Lookup("queryPlanner", "winningPlan").Document()
	for plan.Lookup("stage").StringValue() != "IXSCAN" {
		plan = plan.Lookup("inputStage").Document()
	}
	fmt.Println("by index", plan.Lookup("indexName").StringValue())
	// Output:
	// 499
	// 499
	// 498
	// by index cents_-1
}

// A live query tells each step from the result of a find to the next one.
func Example_liveQuery() {
	ctx := context.Background()
	n, done := newNode(node.Config{})
	defer done()
	shop, err := n.CreateDatabase(ctx, "shop")
	check(err)
	orders := shop.Collection("orders")
	live, err := orders.Live(ctx, bson.D{{Key: "open", Value: true}}, db.FindOptions{
		Sort: bson.D{{Key: "_id", Value: 1}},
	})
	check(err)
	defer live.Close()
	fmt.Println("at first", len(live.Result()))

	_, err = orders.Insert(ctx, bson.D{{Key: "_id", Value: 1}, {Key: "open", Value: true}})
	check(err)
	_, err = orders.Insert(ctx, bson.D{{Key: "_id", Value: 2}, {Key: "open", Value: false}})
	check(err)
	_, err = orders.Update(ctx, bson.D{{Key: "_id", Value: 1}}, bson.D{{Key: "$set", Value: bson.D{{Key: "open", Value: false}}}}, db.UpdateOptions{})
	check(err)
	for range 2 {
		e, err := live.Next(ctx)
		check(err)
		fmt.Println(e.Operation, e.ID.AsInt64())
	}
	// Output:
	// at first 0
	// added 1
	// removed 1
}

// A watch tells changes. The token of the last one seen resumes it, also after a
// restart: nothing is missed.
func Example_watchWithResume() {
	ctx := context.Background()
	n, done := newNode(node.Config{})
	defer done()
	shop, err := n.CreateDatabase(ctx, "shop")
	check(err)
	insert := func(id int) {
		_, err := shop.Collection("orders").Insert(ctx, bson.D{{Key: "_id", Value: id}})
		check(err)
	}

	w, err := shop.Watch(ctx, db.WatchOptions{Collections: []string{"orders"}})
	check(err)
	insert(1)
	first, err := w.Next(ctx)
	check(err)
	fmt.Println(first.Operation, first.ID.AsInt64())
	w.Close()

	insert(2) // nobody watches
	w, err = shop.Watch(ctx, db.WatchOptions{Collections: []string{"orders"}, ResumeAfter: first.Token})
	check(err)
	defer w.Close()
	second, err := w.Next(ctx)
	check(err)
	fmt.Println(second.Operation, second.ID.AsInt64())
	// Output:
	// insert 1
	// insert 2
}
