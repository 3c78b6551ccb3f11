package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node/client"
)

// maxDocument bounds a line of documents, in bytes of text: a document has at
// most 1 MiB, its text can be longer.
const maxDocument = 8 << 20

// document parses a document that a person wrote; "" gives none.
func document(what, text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	d, err := client.Document([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return d, nil
}

// lines calls f with every line of r that is not empty, and its number.
func lines(r io.Reader, f func(n int, line []byte) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), maxDocument)
	for n := 1; s.Scan(); n++ {
		if client.Space(s.Bytes()) {
			continue
		}
		if err := f(n, s.Bytes()); err != nil {
			return err
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return usagef("a line has more than %d bytes", maxDocument)
	}
	return s.Err()
}

// An insertOutput says what was inserted, in order.
type insertOutput struct {
	Inserted int               `json:"inserted"`
	IDs      []json.RawMessage `json:"ids"`
}

// An inserter inserts documents in batches; a few are one batch.
type inserter struct {
	c    *client.Client
	m    *weftv1.InsertRequest
	size int
	out  insertOutput
}

func (i *inserter) add(ctx context.Context, what string, text []byte) error {
	d, err := client.Document(text)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if len(i.m.Documents) == batchDocuments || i.size+len(d) > batchBytes && i.size > 0 {
		if err := i.flush(ctx); err != nil {
			return err
		}
	}
	i.m.Documents, i.size = append(i.m.Documents, d), i.size+len(d)
	return nil
}

func (i *inserter) flush(ctx context.Context) error {
	r, err := i.c.Documents.Insert(ctx, connect.NewRequest(i.m))
	if err != nil {
		return err
	}
	i.m.Documents, i.size = nil, 0
	for _, id := range r.Msg.GetIds() {
		i.out.IDs = append(i.out.IDs, client.IDText(id))
	}
	i.out.Inserted = len(i.out.IDs)
	return nil
}

func (a *app) insertCommand() *cobra.Command {
	return a.newCommand("insert DB COLLECTION [DOC… | -]", "Insert documents; - reads one a line", 2, -1,
		func(ctx context.Context, c *client.Client, args []string) (err error) {
			i := inserter{c: c, m: &weftv1.InsertRequest{Database: args[0], Collection: args[1]}, out: insertOutput{IDs: []json.RawMessage{}}}
			if docs := args[2:]; len(docs) == 0 || len(docs) == 1 && docs[0] == "-" {
				err = lines(a.in, func(n int, line []byte) error { return i.add(ctx, fmt.Sprintf("line %d", n), line) })
			} else {
				for n, text := range docs {
					if err == nil {
						err = i.add(ctx, fmt.Sprintf("document %d", n+1), []byte(text))
					}
				}
			}
			if err == nil {
				err = i.flush(ctx)
			}
			if err != nil {
				return err
			}
			return a.print(i.out, func(w io.Writer) {
				for _, id := range i.out.IDs {
					fmt.Fprintf(w, "%s\n", id)
				}
			})
		})
}

// printFound prints the documents of a stream, one a line, and counts them.
func (a *app) printFound(stream *connect.ServerStreamForClient[weftv1.FindResponse], text func([]byte, []byte) []byte) (found int64, err error) {
	w := bufio.NewWriterSize(a.out, 64<<10)
	var line []byte
	for stream.Receive() {
		for _, d := range stream.Msg().GetDocuments() {
			line = append(text(line[:0], d), '\n')
			if _, err := w.Write(line); err != nil {
				return found, errors.Join(err, stream.Close())
			}
			found++
		}
	}
	return found, errors.Join(stream.Err(), w.Flush(), stream.Close())
}

func relaxed(dst, doc []byte) []byte { return client.Text(dst, doc) }
func exact(dst, doc []byte) []byte   { return client.ExactText(dst, doc) }

func (a *app) findCommand() *cobra.Command {
	var sort, projection string
	var m weftv1.FindRequest
	cmd := a.newCommand("find DB COLLECTION [FILTER]", "Print the documents that match, one a line", 2, 3,
		func(ctx context.Context, c *client.Client, args []string) (err error) {
			m.Database, m.Collection = args[0], args[1]
			if m.Filter, err = document("filter", append(args, "")[2]); err != nil {
				return err
			}
			if m.Sort, err = document("--sort", sort); err != nil {
				return err
			}
			if m.Projection, err = document("--projection", projection); err != nil {
				return err
			}
			stream, err := c.Documents.Find(ctx, connect.NewRequest(&m))
			if err != nil {
				return err
			}
			_, err = a.printFound(stream, relaxed)
			return err
		})
	f := cmd.Flags()
	f.StringVar(&sort, "sort", "", `order, such as '{"age":-1}'`)
	f.Int64Var(&m.Skip, "skip", 0, "leave out the first N")
	f.Int64Var(&m.Limit, "limit", 0, "print at most N; 0 for all")
	f.StringVar(&projection, "projection", "", `fields, such as '{"name":1}'`)
	return cmd
}

func (a *app) getCommand() *cobra.Command {
	return a.newCommand("get DB COLLECTION ID", "Print one document", 3, 3,
		func(ctx context.Context, c *client.Client, args []string) error {
			filter, err := client.IDFilter(args[2])
			if err != nil {
				return err
			}
			stream, err := c.Documents.Find(ctx, connect.NewRequest(&weftv1.FindRequest{
				Database: args[0], Collection: args[1], Filter: filter, Limit: 1,
			}))
			if err != nil {
				return err
			}
			found, err := a.printFound(stream, relaxed)
			if err == nil && found == 0 {
				err = fmt.Errorf("%s %s has no document with the _id %s: %w", args[0], args[1], args[2], client.ErrNotFound)
			}
			return err
		})
}

func (a *app) runCommand() *cobra.Command {
	return a.newCommand("run DB [COMMAND | -]", "Run a MongoDB-style command, or one a line of standard input; print one reply a line", 1, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			one := func(what string, text []byte) error {
				command, err := client.Document(text)
				if err != nil {
					return fmt.Errorf("%s: %w", what, err)
				}
				r, err := c.Documents.Run(ctx, connect.NewRequest(&weftv1.RunRequest{Database: args[0], Command: command}))
				if err != nil {
					return err
				}
				_, err = a.out.Write(append(client.Text(nil, r.Msg.GetReply()), '\n'))
				return err
			}
			if len(args) == 2 && args[1] != "-" {
				return one("command", []byte(args[1]))
			}
			return lines(a.in, func(n int, line []byte) error { return one(fmt.Sprintf("line %d", n), line) })
		})
}

func (a *app) printUpdate(r *weftv1.UpdateResponse) error {
	out := struct {
		Matched  int64           `json:"matched"`
		Modified int64           `json:"modified"`
		Upserted json.RawMessage `json:"upserted,omitempty"`
	}{Matched: r.GetMatched(), Modified: r.GetModified()}
	if len(r.GetUpserted()) > 0 {
		out.Upserted = client.IDText(r.GetUpserted())
	}
	return a.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%d matched, %d modified\n", out.Matched, out.Modified)
		if out.Upserted != nil {
			fmt.Fprintf(w, "inserted %s\n", out.Upserted)
		}
	})
}

func (a *app) update(ctx context.Context, c *client.Client, args []string, m *weftv1.UpdateRequest) (err error) {
	m.Database, m.Collection = args[0], args[1]
	if m.Filter, err = document("filter", args[2]); err != nil {
		return err
	}
	if m.Update, err = document("update", args[3]); err != nil {
		return err
	}
	r, err := c.Documents.Update(ctx, connect.NewRequest(m))
	if err != nil {
		return err
	}
	return a.printUpdate(r.Msg)
}

func (a *app) updateCommand() *cobra.Command {
	var m weftv1.UpdateRequest
	cmd := a.newCommand("update DB COLLECTION FILTER UPDATE", "Update the first document that matches", 4, 4,
		func(ctx context.Context, c *client.Client, args []string) error { return a.update(ctx, c, args, &m) })
	cmd.Flags().BoolVar(&m.Multi, "many", false, "update every document that matches")
	cmd.Flags().BoolVar(&m.Upsert, "upsert", false, "insert a document if none matches")
	return cmd
}

func (a *app) replaceCommand() *cobra.Command {
	m := weftv1.UpdateRequest{Replace: true}
	cmd := a.newCommand("replace DB COLLECTION FILTER DOC", "Replace the first document that matches", 4, 4,
		func(ctx context.Context, c *client.Client, args []string) error { return a.update(ctx, c, args, &m) })
	cmd.Flags().BoolVar(&m.Upsert, "upsert", false, "insert the document if none matches")
	return cmd
}

func (a *app) deleteCommand() *cobra.Command {
	var m weftv1.DeleteRequest
	cmd := a.newCommand("delete DB COLLECTION FILTER", "Delete the first document that matches", 3, 3,
		func(ctx context.Context, c *client.Client, args []string) (err error) {
			m.Database, m.Collection = args[0], args[1]
			if m.Filter, err = document("filter", args[2]); err != nil {
				return err
			}
			r, err := c.Documents.Delete(ctx, connect.NewRequest(&m))
			if err != nil {
				return err
			}
			deleted := r.Msg.GetDeleted()
			return a.print(map[string]int64{"deleted": deleted}, func(w io.Writer) { fmt.Fprintf(w, "%d deleted\n", deleted) })
		})
	cmd.Flags().BoolVar(&m.Multi, "many", false, "delete every document that matches")
	return cmd
}

func (a *app) countCommand() *cobra.Command {
	return a.newCommand("count DB COLLECTION [FILTER]", "Count the documents that match", 2, 3,
		func(ctx context.Context, c *client.Client, args []string) error {
			filter, err := document("filter", append(args, "")[2])
			if err != nil {
				return err
			}
			r, err := c.Documents.Count(ctx, connect.NewRequest(&weftv1.CountRequest{Database: args[0], Collection: args[1], Filter: filter}))
			if err != nil {
				return err
			}
			return a.print(r.Msg.GetCount(), func(w io.Writer) { fmt.Fprintln(w, r.Msg.GetCount()) })
		})
}
