package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/cmd/weft/internal/show"
	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/cmd/weft/internal/words"
	"github.com/weftdb/weft/internal/fault"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node/client"
)

// run runs a command document and returns its reply; a reply with ok 0 is an
// error.
func (a *app) run(ctx context.Context, c *client.Client, database string, command bson.D) (bson.Raw, error) {
	b, err := bson.Marshal(command)
	if err != nil {
		return nil, fmt.Errorf("encode the command: %w", err)
	}
	r, err := c.Documents.Run(ctx, connect.NewRequest(&weftv1.RunRequest{Database: database, Command: b}))
	if err != nil {
		return nil, err
	}
	return r.Msg.GetReply(), client.ReplyError(r.Msg)
}

// each runs a command that replies with a cursor, calls f with every document of
// it, and returns how many there were.
func (a *app) each(ctx context.Context, c *client.Client, database, collection string, command bson.D, f func(bson.Raw) error) (n int64, err error) {
	batch := "firstBatch"
	for {
		reply, err := a.run(ctx, c, database, command)
		if err != nil {
			return n, err
		}
		docs, ok := reply.Lookup("cursor", batch).ArrayOK()
		if !ok {
			return n, fault.Errorf(fault.Internal, "the reply has no cursor")
		}
		values, err := docs.Values()
		if err != nil {
			return n, fault.Errorf(fault.Internal, "the reply cannot be read: %v", err)
		}
		for _, v := range values {
			doc, ok := v.DocumentOK()
			if !ok {
				return n, fault.Errorf(fault.Internal, "the reply's cursor holds no documents")
			}
			if err := f(doc); err != nil {
				return n, err
			}
			n++
		}
		id, _ := reply.Lookup("cursor", "id").AsInt64OK()
		if id == 0 {
			return n, nil
		}
		batch, command = "nextBatch", bson.D{{Key: "getMore", Value: id}, {Key: "collection", Value: collection}}
	}
}

// printEach prints what a cursor gives, one document a line.
func (a *app) printEach(ctx context.Context, c *client.Client, database, collection string, command bson.D) (int64, error) {
	w := show.NewDocuments(a.out, a.tables && !a.json)
	n, err := a.each(ctx, c, database, collection, command, func(doc bson.Raw) error { return w.Write(doc) })
	return n, errors.Join(err, w.Flush())
}

// printReply prints a reply, or for people those of its fields that are not
// about the command itself.
func (a *app) printReply(reply bson.Raw) error {
	_, err := a.out.Write(append(client.Text(nil, reply), '\n'))
	return err
}

// explained runs explain of a command and prints what it says.
func (a *app) explained(ctx context.Context, c *client.Client, database string, command bson.D) error {
	reply, err := a.run(ctx, c, database, bson.D{{Key: "explain", Value: command}, {Key: "verbosity", Value: "executionStats"}})
	if err != nil {
		return err
	}
	return a.printReply(reply)
}

// documents reads an array of documents that a person wrote.
func documents(what, text string) (bson.A, error) {
	v, err := client.Value([]byte(text))
	if err != nil {
		return nil, usagef("invalid %s: %v", what, err)
	}
	if d, ok := v.DocumentOK(); ok {
		return bson.A{d}, nil
	}
	array, ok := v.ArrayOK()
	if !ok {
		return nil, usagef("invalid %s: want an array of stages, such as '[{\"$match\":{}}]'", what)
	}
	values, err := array.Values()
	if err != nil {
		return nil, usagef("invalid %s: %v", what, err)
	}
	out := bson.A{}
	for _, v := range values {
		out = append(out, v)
	}
	return out, nil
}

// hint reads a hint: keys as a document, or the name of an index.
func hint(text string) (any, error) {
	if len(text) > 0 && text[0] == '{' {
		d, err := document("--hint", text)
		return bson.Raw(d), err
	}
	return text, nil
}

func (a *app) aggregateCommand() *cobra.Command {
	var explain bool
	var index string
	cmd := a.newCommand("aggregate DB COLLECTION PIPELINE|-", "Run an aggregation pipeline and print its results, one per line", 3, 3,
		func(ctx context.Context, c *client.Client, args []string) error {
			text, err := a.argument(args[2])
			if err != nil {
				return err
			}
			stages, err := documents("pipeline", text)
			if err != nil {
				return err
			}
			command := bson.D{{Key: "aggregate", Value: args[1]}, {Key: "pipeline", Value: stages}, {Key: "cursor", Value: bson.D{}}}
			if index != "" {
				h, err := hint(index)
				if err != nil {
					return err
				}
				command = append(command, bson.E{Key: "hint", Value: h})
			}
			if explain {
				return a.explained(ctx, c, args[0], command)
			}
			n, err := a.printEach(ctx, c, args[0], args[1], command)
			if err == nil && n == 0 {
				err = a.unknown(ctx, c, args[0], args[1])
			}
			return err
		})
	cmd.Flags().BoolVar(&explain, "explain", false, "print the query plan instead")
	cmd.Flags().StringVar(&index, "hint", "", "index to use: its name or keys")
	cmd.Flags().BoolVar(&a.tables, "table", a.tables, "print documents in tables")
	return cmd
}

func (a *app) distinctCommand() *cobra.Command {
	return a.newCommand("distinct DB COLLECTION PATH [FILTER]", "Print the distinct values of a field, one per line", 3, 4,
		func(ctx context.Context, c *client.Client, args []string) error {
			filter, err := filter(args, 3)
			if err != nil {
				return err
			}
			command := bson.D{{Key: "distinct", Value: args[1]}, {Key: "key", Value: args[2]}}
			if filter != nil {
				command = append(command, bson.E{Key: "query", Value: bson.Raw(filter)})
			}
			reply, err := a.run(ctx, c, args[0], command)
			if err != nil {
				return err
			}
			array, _ := reply.Lookup("values").ArrayOK()
			values, err := array.Values()
			if err != nil {
				return err
			}
			out := []json.RawMessage{}
			for _, v := range values {
				out = append(out, client.ValueText(v))
			}
			return a.print(out, func(w io.Writer) {
				for _, v := range out {
					fmt.Fprintf(w, "%s\n", v)
				}
			})
		})
}

// A conflictOutput is a value of a unique index that several documents have.
type conflictOutput struct {
	Collection string            `json:"collection"`
	Index      string            `json:"index"`
	Key        json.RawMessage   `json:"key"`
	Owner      json.RawMessage   `json:"owner"`
	Others     []json.RawMessage `json:"others"`
	Documents  int64             `json:"documents"`
}

func (a *app) conflictsCommand() *cobra.Command {
	return a.newCommand("conflicts DB [COLLECTION]", "Print the values of unique indexes that several documents have, one per line", 1, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			const page = 1000
			for skip := int64(0); ; skip += page {
				command := bson.D{{Key: "conflicts", Value: append(args, "")[1]}, {Key: "skip", Value: skip}, {Key: "limit", Value: page}}
				n, err := a.each(ctx, c, args[0], "", command, func(doc bson.Raw) error { return a.printConflict(doc) })
				if err != nil || n < page {
					return err
				}
			}
		})
}

func (a *app) printConflict(doc bson.Raw) error {
	text := func(path ...string) json.RawMessage { return client.ValueText(doc.Lookup(path...)) }
	out := conflictOutput{Key: text("key"), Owner: text("owner", "_id"), Others: []json.RawMessage{}}
	out.Collection, _ = doc.Lookup("collection").StringValueOK()
	out.Index, _ = doc.Lookup("index").StringValueOK()
	out.Documents, _ = doc.Lookup("documents").AsInt64OK()
	if others, ok := doc.Lookup("others").ArrayOK(); ok {
		values, err := others.Values()
		if err != nil {
			return err
		}
		for _, v := range values {
			if other, ok := v.DocumentOK(); ok {
				out.Others = append(out.Others, client.ValueText(other.Lookup("_id")))
			}
		}
	}
	if a.json {
		return a.line(out)
	}
	_, err := fmt.Fprintf(a.out, "%s %s %s: %s, and %s: %s\n", tty.Printable(out.Collection), tty.Printable(out.Index), out.Key, out.Owner, words.Count(out.Documents-1, "other"), joined(out.Others))
	return err
}

func joined(values []json.RawMessage) string {
	var out []byte
	for i, v := range values {
		if i > 0 {
			out = append(out, ' ')
		}
		out = append(out, v...)
	}
	return string(out)
}
