package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/cmd/weft/internal/words"
	"github.com/weftdb/weft/internal/fault"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node/client"
)

func (a *app) collectionCommand() *cobra.Command {
	return newParent("collection", "Manage the collections of a database", a.collectionCreate(), a.collectionUpdate(), a.collectionList(), a.collectionShow(), a.collectionRemove())
}

type collectionOutput struct {
	Name      string          `json:"name"`
	Documents int64           `json:"documents"`
	Schema    json.RawMessage `json:"schema,omitempty"`
	Indexes   []indexOutput   `json:"indexes"`
}

func collectionOf(c *weftv1.Collection) collectionOutput {
	out := collectionOutput{Name: c.GetName(), Documents: c.GetDocuments(), Indexes: []indexOutput{}}
	for _, x := range c.GetIndexes() {
		out.Indexes = append(out.Indexes, indexOutput{Name: x.GetName(), Keys: client.Text(nil, x.GetKeys()), Unique: x.GetUnique()})
	}
	if len(c.GetSchema()) > 0 {
		out.Schema = client.Text(nil, c.GetSchema())
	}
	return out
}

// fileOr reads a value that a person gave: the text itself, - for standard
// input, or a file; "" gives none.
func (a *app) fileOr(flag, arg string) (string, error) {
	switch text := strings.TrimSpace(arg); {
	case arg == "-":
		return a.argument(arg)
	case text == "", text[0] == '{', text[0] == '[':
		return arg, nil
	}
	text, err := os.ReadFile(arg)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	return string(text), nil
}

// A collectionFlags says what a collection is, or is to be.
type collectionFlags struct {
	schema, rules, migrate string
	dryRun, force          bool
}

func (o *collectionFlags) set(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.schema, "schema", "", "JSON Schema that documents must fit: a file, - for standard input, or the schema itself")
	f.StringVar(&o.rules, "rules", "", `who may write and read, in CEL, such as '{"write":"writer == doc.owner"}': a file, - for standard input, or the rules themselves`)
}

// options returns what create and collMod take.
func (a *app) options(o collectionFlags) (bson.D, error) {
	var out bson.D
	text, err := a.fileOr("--schema", o.schema)
	if err != nil {
		return nil, err
	}
	schema, err := document("--schema", text)
	if err != nil {
		return nil, err
	}
	if schema != nil {
		out = append(out, bson.E{Key: "validator", Value: bson.D{{Key: "$jsonSchema", Value: bson.Raw(schema)}}})
	}
	if text, err = a.fileOr("--rules", o.rules); err != nil {
		return nil, err
	}
	rules, err := document("--rules", text)
	if err != nil {
		return nil, err
	}
	if rules != nil {
		out = append(out, bson.E{Key: "rules", Value: bson.Raw(rules)})
	}
	if text, err = a.fileOr("--migrate", o.migrate); err != nil || text == "" {
		return out, err
	}
	steps, err := documents("--migrate", text)
	return append(out, bson.E{Key: "migrate", Value: steps}), err
}

func (a *app) collectionCreate() *cobra.Command {
	var o collectionFlags
	cmd := a.newCommand("create DB NAME", "Create a collection", 2, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			options, err := a.options(o)
			if err != nil {
				return err
			}
			if _, err := a.run(ctx, c, args[0], append(bson.D{{Key: "create", Value: args[1]}}, options...)); err != nil {
				return err
			}
			return a.print(map[string]string{"name": args[1]}, func(w io.Writer) { fmt.Fprintln(w, args[1]) })
		})
	o.set(cmd)
	return cmd
}

func (a *app) collectionUpdate() *cobra.Command {
	var o collectionFlags
	cmd := a.newCommand("update DB NAME", "Change the schema or rules of a collection, and migrate its documents", 2, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			options, err := a.options(o)
			if err != nil {
				return err
			}
			if len(options) == 0 {
				return usagef("nothing to change: give --schema, --rules or --migrate")
			}
			options = append(options, bson.E{Key: "dryRun", Value: o.dryRun}, bson.E{Key: "force", Value: o.force}, bson.E{Key: "list", Value: int32(100)})
			reply, err := a.run(ctx, c, args[0], append(bson.D{{Key: "collMod", Value: args[1]}}, options...))
			if _, none := reply.LookupErr("misfits"); err != nil && none != nil {
				return err // it says all
			}
			if reply != nil {
				err = errors.Join(err, a.printReply(reply))
			}
			return err
		})
	o.set(cmd)
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "change nothing; print which documents would not fit")
	cmd.Flags().BoolVar(&o.force, "force", false, "make the change even if documents do not fit")
	cmd.Flags().StringVar(&o.migrate, "migrate", "", `steps that make documents fit, such as '[{"rename":{"from":"a","to":"b"}}]': a file, - for standard input, or the steps themselves`)
	return cmd
}

// command runs a command document that tells no more than whether it failed.
func (a *app) command(ctx context.Context, c *client.Client, database string, command bson.D) error {
	_, err := a.run(ctx, c, database, command)
	return a.done(err)
}

func (a *app) collectionRemove() *cobra.Command {
	return a.newCommand("rm DB NAME", "Remove a collection with its documents and indexes", 2, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			return a.command(ctx, c, args[0], bson.D{{Key: "drop", Value: args[1]}})
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
				words.Table(w, rows...)
			})
		})
}

func (a *app) collectionShow() *cobra.Command {
	return a.newCommand("show DB NAME", "Show a collection", 2, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			all, err := a.collections(ctx, c, args[0])
			if err != nil {
				return err
			}
			for _, x := range all {
				if x.Name == args[1] {
					if len(x.Indexes) > 0 { // one without a definition has none to list
						if x.Indexes, err = a.listIndexes(ctx, c, args[0], x.Name); err != nil {
							return err
						}
					}
					return a.print(x, func(w io.Writer) {
						fmt.Fprintf(w, "%s: %s\n", tty.Printable(x.Name), words.Count(x.Documents, "document"))
						for _, i := range x.Indexes {
							fmt.Fprintf(w, "index %s %s %s\n", tty.Printable(i.Name), i.Keys, i)
						}
						if x.Schema != nil {
							fmt.Fprintf(w, "schema %s\n", x.Schema)
						}
					})
				}
			}
			return fault.Of(client.ErrNotFound, "collection %s does not exist", args[1])
		})
}
