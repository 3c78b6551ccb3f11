package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"go.mongodb.org/mongo-driver/v2/bson"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node/client"
	"github.com/weftdb/weft/node/transfer"
)

func (a *app) dbImport() *cobra.Command {
	var o importFlags
	var path string
	var t transfer.ThreadDBOptions
	cmd := a.newCommand("import DB --threaddb FILE|DIR", "Import the collections of a ThreadDB app: schemas, indexes and instances", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) (err error) {
			if path == "" {
				return usagef("missing --threaddb: want a file or folder; for a file of documents use weft import")
			}
			in, err := transfer.OpenThreadDB(path, t)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, in.Close()) }()
			return a.doImport(ctx, c, args[0], "", o, in.Next, nil, in.Notes)
		})
	cmd.Long = cmd.Short + `.

A file holds {"collections":[{"name","schema","indexes":[{"path","unique"}],"instances":[…]}…]}. A folder holds NAME.json or
NAME.jsonl with the instances of each collection, and optionally NAME.schema.json and collections.json with configurations.`
	f := cmd.Flags()
	f.StringVar(&path, "threaddb", "", "file or folder that a ThreadDB app exported")
	f.StringVar(&t.Mod, "mod", "", "field that keeps an instance's _mod (default: _mod is dropped)")
	o.set(cmd)
	return cmd
}

// threadQuery reads a filter of find as a query of ThreadDB.
func threadQuery(text string, m *weftv1.FindRequest, index *string) error {
	if text == "" {
		text = "{}"
	}
	q, err := client.ThreadQuery([]byte(text))
	if err != nil {
		return usagef("%v", err)
	}
	if m.Sort != nil || m.Skip != 0 || m.Limit != 0 {
		return usagef("--dialect threaddb does not take --sort, --skip or --limit: they are part of the query")
	}
	m.Filter, m.Sort, m.Skip, m.Limit = q.Filter, q.Sort, q.Skip, q.Limit
	if q.Index != "" && *index == "" {
		keys, err := bson.Marshal(bson.D{{Key: q.Index, Value: int32(1)}})
		if err != nil {
			return err
		}
		*index = string(client.Text(nil, keys)) // one that is not there is an error
	}
	return nil
}
