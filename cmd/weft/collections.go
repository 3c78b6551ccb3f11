package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"go.mongodb.org/mongo-driver/v2/bson"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node/client"
)

func (a *app) collectionCommand() *cobra.Command {
	return newGroup("collection", "Collections of a database", a.collectionCreate(), a.collectionList(), a.collectionShow(), a.collectionRemove())
}

// An indexOutput describes an index.
type indexOutput struct {
	Name   string          `json:"name"`
	Keys   json.RawMessage `json:"keys"`
	Unique bool            `json:"unique"`
}

type collectionOutput struct {
	Name      string          `json:"name"`
	Documents int64           `json:"documents"`
	Schema    json.RawMessage `json:"schema,omitempty"`
	Indexes   []indexOutput   `json:"indexes"`
}

func indexesOf(in []*weftv1.Index) []indexOutput {
	out := []indexOutput{}
	for _, x := range in {
		out = append(out, indexOutput{x.GetName(), client.Text(nil, x.GetKeys()), x.GetUnique()})
	}
	return out
}

func collectionOf(c *weftv1.Collection) collectionOutput {
	out := collectionOutput{Name: c.GetName(), Documents: c.GetDocuments(), Indexes: indexesOf(c.GetIndexes())}
	if len(c.GetSchema()) > 0 {
		out.Schema = client.Text(nil, c.GetSchema())
	}
	return out
}

// schema reads a JSON Schema: the text itself, - for standard input, or a file.
func (a *app) schema(arg string) ([]byte, error) {
	switch {
	case arg == "":
		return nil, nil
	case arg == "-":
		text, err := a.argument(arg)
		if err != nil {
			return nil, err
		}
		return document("--schema", text)
	case strings.HasPrefix(strings.TrimSpace(arg), "{"):
		return document("--schema", arg)
	}
	text, err := os.ReadFile(arg)
	if err != nil {
		return nil, fmt.Errorf("--schema: %w", err)
	}
	return document("--schema "+arg, string(text))
}

func (a *app) collectionCreate() *cobra.Command {
	var schema string
	cmd := a.newCommand("create DB NAME", "Define a collection", 2, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			m := &weftv1.Collection{Name: args[1]}
			var err error
			if m.Schema, err = a.schema(schema); err != nil {
				return err
			}
			_, err = c.Documents.CreateCollection(ctx, connect.NewRequest(&weftv1.CreateCollectionRequest{Database: args[0], Collection: m}))
			if err != nil {
				return err
			}
			return a.print(map[string]string{"name": args[1]}, func(w io.Writer) { fmt.Fprintln(w, args[1]) })
		})
	cmd.Flags().StringVar(&schema, "schema", "", "JSON Schema that documents must fit: a file, - or the schema itself")
	return cmd
}

// command runs a command document that tells no more than whether it failed.
func (a *app) command(ctx context.Context, c *client.Client, database string, command bson.D) error {
	b, err := bson.Marshal(command)
	if err != nil {
		return err
	}
	r, err := c.Documents.Run(ctx, connect.NewRequest(&weftv1.RunRequest{Database: database, Command: b}))
	if err != nil {
		return err
	}
	return a.done(client.ReplyError(r.Msg.GetReply()))
}

func (a *app) collectionRemove() *cobra.Command {
	return a.newCommand("rm DB NAME", "Remove a collection with its documents and indexes", 2, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			return a.command(ctx, c, args[0], bson.D{{Key: "drop", Value: args[1]}})
		})
}

func (a *app) indexRemove() *cobra.Command {
	return a.newCommand("rm DB COLLECTION NAME", "Remove an index", 3, 3,
		func(ctx context.Context, c *client.Client, args []string) error {
			return a.command(ctx, c, args[0], bson.D{{Key: "dropIndexes", Value: args[1]}, {Key: "index", Value: args[2]}})
		})
}

func (a *app) collections(ctx context.Context, c *client.Client, database string) ([]collectionOutput, error) {
	r, err := c.Documents.ListCollections(ctx, connect.NewRequest(&weftv1.ListCollectionsRequest{Database: database}))
	if err != nil {
		return nil, err
	}
	out := []collectionOutput{}
	for _, x := range r.Msg.GetCollections() {
		out = append(out, collectionOf(x))
	}
	return out, nil
}

func (a *app) collectionList() *cobra.Command {
	return a.newCommand("ls DB", "List the collections", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			out, err := a.collections(ctx, c, args[0])
			if err != nil {
				return err
			}
			return a.print(out, func(w io.Writer) {
				rows := [][]string{{"NAME", "DOCUMENTS", "INDEXES", "SCHEMA"}}
				for _, x := range out {
					rows = append(rows, []string{x.Name, fmt.Sprint(x.Documents), fmt.Sprint(len(x.Indexes)), fmt.Sprint(x.Schema != nil)})
				}
				table(w, rows...)
			})
		})
}

func (a *app) collectionShow() *cobra.Command {
	return a.newCommand("show DB NAME", "Tell about a collection", 2, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			all, err := a.collections(ctx, c, args[0])
			if err != nil {
				return err
			}
			for _, x := range all {
				if x.Name == args[1] {
					return a.print(x, func(w io.Writer) {
						fmt.Fprintf(w, "%s: %d documents\n", x.Name, x.Documents)
						for _, i := range x.Indexes {
							fmt.Fprintf(w, "index %s %s unique %v\n", i.Name, i.Keys, i.Unique)
						}
						if x.Schema != nil {
							fmt.Fprintf(w, "schema %s\n", x.Schema)
						}
					})
				}
			}
			return fmt.Errorf("%w: %s has no collection %s", client.ErrNotFound, args[0], args[1])
		})
}

func (a *app) indexCommand() *cobra.Command {
	return newGroup("index", "Indexes of a collection", a.indexCreate(), a.indexList(), a.indexRemove())
}

// indexKeys reads the fields of an index: PATH, PATH:desc, or one document.
func indexKeys(args []string) ([]byte, error) {
	if len(args) == 1 && strings.HasPrefix(args[0], "{") {
		return document("index", args[0])
	}
	fields := bson.D{}
	for _, f := range args {
		path, order, _ := strings.Cut(f, ":")
		switch order {
		case "", "asc":
			fields = append(fields, bson.E{Key: path, Value: int32(1)})
		case "desc":
			fields = append(fields, bson.E{Key: path, Value: int32(-1)})
		default:
			return nil, usagef("index field %s: write PATH, PATH:asc or PATH:desc", f)
		}
	}
	return bson.Marshal(fields)
}

func (a *app) indexCreate() *cobra.Command {
	var x weftv1.Index
	cmd := a.newCommand("create DB COLLECTION FIELD…", "Make an index on one or more fields (PATH or PATH:desc)", 3, -1,
		func(ctx context.Context, c *client.Client, args []string) (err error) {
			if x.Keys, err = indexKeys(args[2:]); err != nil {
				return err
			}
			r, err := c.Documents.CreateIndex(ctx, connect.NewRequest(&weftv1.CreateIndexRequest{Database: args[0], Collection: args[1], Index: &x}))
			if err != nil {
				return err
			}
			name := r.Msg.GetName()
			return a.print(map[string]string{"name": name}, func(w io.Writer) { fmt.Fprintln(w, name) })
		})
	cmd.Flags().StringVar(&x.Name, "name", "", "name of the index (default made of its fields)")
	return cmd
}

func (a *app) indexList() *cobra.Command {
	return a.newCommand("ls DB COLLECTION", "List the indexes", 2, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.Documents.ListIndexes(ctx, connect.NewRequest(&weftv1.ListIndexesRequest{Database: args[0], Collection: args[1]}))
			if err != nil {
				return err
			}
			out := indexesOf(r.Msg.GetIndexes())
			return a.print(out, func(w io.Writer) {
				rows := [][]string{{"NAME", "KEYS", "UNIQUE"}}
				for _, x := range out {
					rows = append(rows, []string{x.Name, string(x.Keys), fmt.Sprint(x.Unique)})
				}
				table(w, rows...)
			})
		})
}
