package main

import (
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/command"
	"github.com/weftdb/weft/node"
)

// weft is a whole node, embedded: records are signed, sealed and logged.
type weft struct {
	node     *node.Node
	store    *db.DB
	commands *command.Runner
}

var (
	weftFilter = marshal(bson.D{{Key: "feature", Value: "PPL"}, {Key: "population", Value: bson.D{{Key: "$gte", Value: 50_000}}}})
	weftGroup  = marshal(bson.D{
		{Key: "aggregate", Value: "two"},
		{Key: "pipeline", Value: bson.A{bson.D{{Key: "$group", Value: bson.D{
			{Key: "_id", Value: "$country"},
			{Key: "n", Value: bson.D{{Key: "$sum", Value: 1}}},
			{Key: "people", Value: bson.D{{Key: "$sum", Value: "$population"}}},
		}}}}},
		{Key: "cursor", Value: bson.D{{Key: "batchSize", Value: 1000}}},
	})
)

func marshal(v any) bson.Raw {
	b, err := bson.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func openWeft(dir string) (engine, error) {
	n, err := node.Open(ctx, node.Config{Home: dir})
	if err != nil {
		return nil, err
	}
	d, err := n.CreateDatabase(ctx, "peers")
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	w := &weft{node: n, store: d, commands: command.New(d)}
	for name, paths := range map[string][]string{"two": {"country", "population"}, "one": {"country"}, "three": {"country", "population", "feature"}} {
		for _, p := range paths {
			if _, err := d.Collection(name).CreateIndex(ctx, db.Index{Keys: []db.IndexKey{{Path: p}}}); err != nil {
				return nil, errors.Join(err, n.Close())
			}
		}
	}
	return w, nil
}

func (w *weft) name() string { return "weft" }

func (w *weft) close() error { return w.node.Close() }

func collectionOf(indexes int) string { return []string{"", "one", "two", "three"}[indexes] }

func (w *weft) insert(docs []doc, indexes int) error {
	raws := make([]bson.Raw, len(docs))
	for i, d := range docs {
		raws[i] = d.bson
	}
	_, err := w.store.Collection(collectionOf(indexes)).Insert(ctx, raws)
	return err
}

func (w *weft) get(id string) (bool, error) {
	t, b, err := bson.MarshalValue(id)
	if err != nil {
		return false, err
	}
	doc, err := w.store.Collection("two").Get(ctx, bson.RawValue{Type: t, Value: b})
	return len(doc.Raw) > 0, err
}

// each counts what a find gives, looking at every document.
func (w *weft) each(filter any, o db.FindOptions, see func(bson.Raw)) (n int, err error) {
	c, err := w.store.Collection("two").Find(ctx, filter, o)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for c.Next() {
		n++
		if see != nil {
			see(c.Raw())
		}
	}
	return n, c.Err()
}

func (w *weft) byCountry(country string) (int, error) {
	return w.each(marshal(bson.D{{Key: "country", Value: country}}), db.FindOptions{}, func(bson.Raw) {})
}

func (w *weft) scan() (int, error) {
	return w.each(weftFilter, db.FindOptions{NoIndex: true}, nil)
}

func (w *weft) top(indexed bool) (ids []string, err error) {
	o := db.FindOptions{Limit: 20, Sort: marshal(bson.D{{Key: "population", Value: -1}})}
	if !indexed {
		o.Sort = marshal(bson.D{{Key: "name", Value: 1}})
	}
	_, err = w.each(nil, o, func(d bson.Raw) { ids = append(ids, d.Lookup("_id").StringValue()) })
	return ids, err
}

func (w *weft) group() (groups int, sum int64, err error) {
	reply, err := w.commands.Run(ctx, weftGroup)
	if err != nil {
		return 0, 0, err
	}
	if ok, _ := reply.Lookup("ok").AsInt64OK(); ok != 1 {
		return 0, 0, fmt.Errorf("%v", reply.Lookup("errmsg"))
	}
	totals, err := reply.Lookup("cursor", "firstBatch").Array().Values()
	if err != nil {
		return 0, 0, err
	}
	for _, t := range totals {
		people, _ := t.Document().Lookup("people").AsInt64OK()
		sum += people
	}
	return len(totals), sum, nil
}
