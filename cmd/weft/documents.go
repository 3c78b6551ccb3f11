package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/cmd/weft/internal/show"
	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/cmd/weft/internal/words"
	"github.com/weftdb/weft/internal/fault"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node/client"
	"github.com/weftdb/weft/node/transfer"
)

// maxDocument bounds a line of documents, in bytes of text: a document has at
// most 1 MiB, its text can be longer.
const maxDocument = transfer.MaxLine

// document parses a document that a person wrote; "" gives none.
func document(what, text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	d, err := client.Document([]byte(text))
	if err != nil {
		return nil, usagef("%s: %v", what, err)
	}
	return d, nil
}

// required parses a document that a command cannot do without: an unset
// variable of a script is not taken for "all" or "nothing".
func required(what, text string) ([]byte, error) {
	if client.Space([]byte(text)) {
		return nil, usagef("the %s is empty: write {} for the empty document", what)
	}
	return document(what, text)
}

// filter parses the argument that may be a filter, the i-th; nil if it is not given.
func filter(args []string, i int) ([]byte, error) {
	if len(args) <= i {
		return nil, nil
	}
	return required("filter", args[i])
}

// lines calls f with every line of r that is not empty, and its number.
func lines(r io.Reader, f func(n int, line []byte) error) error {
	in := &watched{Reader: r}
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 64<<10), maxDocument)
	n := 1
	for ; s.Scan(); n++ {
		if client.Space(s.Bytes()) {
			continue
		}
		if err := f(n, s.Bytes()); err != nil {
			if in.err != nil {
				return in.err // the line was cut short
			}
			return err
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return fault.Errorf(fault.Malformed, "line %d has more than %d bytes", n, maxDocument)
	}
	return s.Err()
}

// A watched reader keeps the error that it ended with.
type watched struct {
	io.Reader
	err error // not io.EOF
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
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
	tell func(ids []json.RawMessage) error // of what was stored
}

func (i *inserter) add(ctx context.Context, docs ...[]byte) error {
	for _, d := range docs {
		if len(i.m.Documents) == batchDocuments || i.size+len(d) > batchBytes && i.size > 0 {
			if err := i.flush(ctx); err != nil {
				return err
			}
		}
		i.m.Documents, i.size = append(i.m.Documents, d), i.size+len(d)
	}
	return nil
}

func (i *inserter) flush(ctx context.Context) error {
	r, err := i.c.Documents.Insert(ctx, connect.NewRequest(i.m))
	if err != nil {
		return err
	}
	i.m.Documents, i.size = nil, 0
	told := len(i.out.IDs)
	for _, id := range r.Msg.GetIds() {
		i.out.IDs = append(i.out.IDs, client.IDText(id))
	}
	i.out.Inserted += len(r.Msg.GetIds())
	return i.tell(i.out.IDs[told:])
}

func (a *app) insertCommand() *cobra.Command {
	return a.newCommand("insert DB COLLECTION [DOC… | -]", "Insert documents, or arrays of them; - reads them from standard input, one per line", 2, -1,
		func(ctx context.Context, c *client.Client, args []string) (err error) {
			i := inserter{c: c, m: &weftv1.InsertRequest{Database: args[0], Collection: args[1]}, out: insertOutput{IDs: []json.RawMessage{}}}
			i.tell = func(ids []json.RawMessage) error {
				if a.json { // one value, at the end
					return nil
				}
				i.out.IDs = i.out.IDs[:0]
				return a.print(nil, func(w io.Writer) {
					for _, id := range ids {
						fmt.Fprintf(w, "%s\n", id)
					}
				})
			}
			if docs := args[2:]; len(docs) == 0 || len(docs) == 1 && docs[0] == "-" {
				tty.OnIdle(a.input, func() error {
					if len(i.m.Documents) == 0 {
						return nil
					}
					return i.flush(ctx)
				})
				err = lines(a.input, func(n int, line []byte) error {
					docs, err := client.Documents(line)
					if err != nil {
						return fmt.Errorf("line %d: %w", n, err)
					}
					return i.add(ctx, docs...)
				})
			} else {
				for n := 0; n < len(docs) && err == nil; n++ {
					var some [][]byte
					if client.Space([]byte(docs[n])) {
						_, err = required(fmt.Sprintf("document %d", n+1), docs[n])
					} else if some, err = client.Documents([]byte(docs[n])); err != nil {
						err = usagef("document %d: %v", n+1, err)
					} else {
						err = i.add(ctx, some...)
					}
				}
			}
			if err == nil {
				err = i.flush(ctx)
			}
			if n := i.out.Inserted; err != nil && n > 0 {
				err = fmt.Errorf("after %s: %w", words.Count(int64(n), "inserted document"), err)
			}
			if a.json && (err == nil || i.out.Inserted > 0) {
				err = cmp.Or(err, a.line(i.out))
			}
			return err
		})
}

// printFound prints the documents of a stream, one a line, and counts them.
func (a *app) printFound(stream *connect.ServerStreamForClient[weftv1.FindResponse]) (found int64, err error) {
	w := show.NewDocuments(a.out, a.tables && !a.json)
	for stream.Receive() {
		for _, d := range stream.Msg().GetDocuments() {
			if err := w.Write(d); err != nil {
				return found, errors.Join(err, stream.Close())
			}
			found++
		}
	}
	return found, errors.Join(stream.Err(), w.Flush(), stream.Close())
}

// fieldList reads a sort order or a projection: fields with commas between them, -1 for one
// with a minus, or a document.
func fieldList(what, text string) ([]byte, error) {
	trimmed := strings.TrimSpace(text)
	if trimmed == "" || trimmed[0] == '{' {
		return document(what, trimmed)
	}
	doc := bson.D{}
	for field := range strings.SplitSeq(trimmed, ",") {
		order := int32(1)
		if field = strings.TrimPrefix(strings.TrimSpace(field), "+"); strings.HasPrefix(field, "-") {
			field, order = field[1:], -1
			if what == "--projection" {
				order = 0
			}
		}
		// A path with a colon is rare, and PATH:desc, as indexes have it, would sort by nothing.
		_, suffix, _ := strings.Cut(field, ":")
		if field == "" || slices.Contains([]string{"asc", "desc", "1", "-1", "0"}, strings.TrimSpace(suffix)) {
			return nil, usagef("invalid %s %q: want fields such as -age,name, or a document", what, text)
		}
		doc = append(doc, bson.E{Key: field, Value: order})
	}
	return bson.Marshal(doc)
}

func (a *app) findCommand() *cobra.Command {
	var sort, projection, index, dialect string
	var explain bool
	var m weftv1.FindRequest
	cmd := a.newCommand("find DB COLLECTION [FILTER]", "Print the matching documents, one per line", 2, 3,
		func(ctx context.Context, c *client.Client, args []string) (err error) {
			m.Database, m.Collection = args[0], args[1]
			if m.Sort, err = fieldList("--sort", sort); err != nil {
				return err
			}
			if m.Projection, err = fieldList("--projection", projection); err != nil {
				return err
			}
			switch dialect {
			case "", "mongo":
				m.Filter, err = filter(args, 2)
			case "threaddb":
				err = threadQuery(append(args, "")[2], &m, &index)
			default:
				err = usagef("invalid --dialect %q: want mongo or threaddb", dialect)
			}
			if err != nil {
				return err
			}
			var found int64
			if explain || index != "" {
				found, err = a.findCommandOf(ctx, c, &m, index, explain)
			} else {
				found, err = a.find(ctx, c, &m)
			}
			if err == nil && found == 0 && !explain {
				err = a.unknown(ctx, c, args[0], args[1])
			}
			return err
		})
	f := cmd.Flags()
	f.StringVar(&sort, "sort", "", "sort order: fields, with - for descending, such as -age,name, or a document")
	f.Int64Var(&m.Skip, "skip", 0, "skip the first N documents")
	f.Int64Var(&m.Limit, "limit", 0, "print at most N documents; 0 prints all")
	f.StringVar(&dialect, "dialect", "", "language of FILTER: mongo, or threaddb for a whole ThreadDB query")
	f.BoolVar(&explain, "explain", false, "print the query plan instead")
	f.StringVar(&index, "hint", "", "index to use: its name or keys")
	f.StringVar(&projection, "projection", "", "fields to print, such as name,age, with - those to leave out, or a document")
	f.BoolVar(&a.tables, "table", a.tables, "print documents in tables")
	return cmd
}

func (a *app) find(ctx context.Context, c *client.Client, m *weftv1.FindRequest) (int64, error) {
	stream, err := c.Documents.Find(ctx, connect.NewRequest(m))
	if err != nil {
		return 0, err
	}
	return a.printFound(stream)
}

// findCommandOf finds by a command document, which has more options.
func (a *app) findCommandOf(ctx context.Context, c *client.Client, m *weftv1.FindRequest, index string, explain bool) (int64, error) {
	command := bson.D{{Key: "find", Value: m.GetCollection()}}
	for _, part := range []struct {
		name string
		doc  bson.Raw
	}{{"filter", m.GetFilter()}, {"sort", m.GetSort()}, {"projection", m.GetProjection()}} {
		if part.doc != nil {
			command = append(command, bson.E{Key: part.name, Value: part.doc})
		}
	}
	command = append(command, bson.E{Key: "skip", Value: m.GetSkip()}, bson.E{Key: "limit", Value: m.GetLimit()})
	if index != "" {
		h, err := hint(index)
		if err != nil {
			return 0, err
		}
		command = append(command, bson.E{Key: "hint", Value: h})
	}
	if explain {
		return 0, a.explained(ctx, c, m.GetDatabase(), command)
	}
	return a.printEach(ctx, c, m.GetDatabase(), m.GetCollection(), command)
}

// unknown tells people, who may have mistyped it, that a collection in which
// nothing was found does not exist. It is no error: as in MongoDB, a collection
// that does not exist is empty, and may be on its way from a peer.
func (a *app) unknown(ctx context.Context, c *client.Client, database, collection string) error {
	if a.json {
		return nil
	}
	all, err := a.collections(ctx, c, database)
	if err != nil {
		return err
	}
	var names []string
	for _, x := range all {
		if x.Name == collection {
			return nil
		}
		names = append(names, tty.Printable(x.Name))
	}
	has := "no collections"
	if len(names) > 0 {
		has = strings.Join(names, ", ")
	}
	fmt.Fprintf(a.err, "weft: note: %s has no collection %s; it has %s\n", tty.Printable(database), tty.Printable(collection), has)
	return nil
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
			found, err := a.printFound(stream)
			if err == nil && found == 0 {
				err = fault.Of(client.ErrNotFound, "collection %s of %s has no document with _id %s", args[1], args[0], args[2])
			}
			return err
		})
}

func (a *app) runCommand() *cobra.Command {
	cmd := a.newCommand("run DB [COMMAND | -]", "Run a MongoDB-style command, or commands from standard input; print one reply per line", 1, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			one := func(command []byte) (*weftv1.RunResponse, error) {
				r, err := c.Documents.Run(ctx, connect.NewRequest(&weftv1.RunRequest{Database: args[0], Command: command}))
				if err != nil {
					return nil, err
				}
				return r.Msg, a.printReply(r.Msg.GetReply())
			}
			if len(args) == 2 && args[1] != "-" {
				command, err := required("command", args[1])
				if err != nil {
					return err
				}
				reply, err := one(command)
				if err != nil {
					return err
				}
				return client.ReplyError(reply)
			}
			return lines(a.input, func(n int, line []byte) error {
				command, err := client.Document(line)
				if err != nil {
					return a.printReply(unreadable(n, err))
				}
				_, err = one(command)
				return err
			})
		})
	cmd.Long = cmd.Short + ".\nStandard input has one command per line. The exit status is 1 if the reply to COMMAND has ok: 0;\nwith commands from standard input it is 0, as each has its own reply."
	return cmd
}

// unreadable is the reply to a line that is no command: the lines after it have theirs.
func unreadable(n int, err error) bson.Raw {
	b, _ := bson.Marshal(bson.D{ // of strings and numbers
		{Key: "ok", Value: 0.0}, {Key: "errmsg", Value: fmt.Sprintf("line %d: %v", n, err)}, {Key: "code", Value: 9}, {Key: "codeName", Value: "FailedToParse"},
	})
	return b
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
	if m.Filter, err = required("filter", args[2]); err != nil {
		return err
	}
	if m.GetReplace() {
		m.Update, err = required("document", args[3])
	} else if client.Space([]byte(args[3])) {
		err = usagef("the update is empty: write {} for the empty document")
	} else if m.Update, err = client.Update([]byte(args[3])); err != nil {
		err = usagef("update: %v", err)
	}
	if err != nil {
		return err
	}
	r, err := c.Documents.Update(ctx, connect.NewRequest(m))
	if err != nil {
		return err
	}
	if r.Msg.GetMatched() == 0 && len(r.Msg.GetUpserted()) == 0 {
		if err := a.unknown(ctx, c, args[0], args[1]); err != nil {
			return err
		}
	}
	return a.printUpdate(r.Msg)
}

func (a *app) updateCommand() *cobra.Command {
	var m weftv1.UpdateRequest
	cmd := a.newCommand("update DB COLLECTION FILTER UPDATE", "Update the first matching document", 4, 4,
		func(ctx context.Context, c *client.Client, args []string) error { return a.update(ctx, c, args, &m) })
	cmd.Long = cmd.Short + ".\n\nUPDATE is a document of operators, as {\"$set\": {\"a\": 1}}, or a pipeline, as [{\"$set\": {\"a\": \"$b\"}}]."
	cmd.Flags().BoolVar(&m.Multi, "many", false, "update every matching document")
	cmd.Flags().BoolVar(&m.Upsert, "upsert", false, "insert a document if none matches")
	return cmd
}

func (a *app) replaceCommand() *cobra.Command {
	m := weftv1.UpdateRequest{Replace: true}
	cmd := a.newCommand("replace DB COLLECTION FILTER DOC", "Replace the first matching document", 4, 4,
		func(ctx context.Context, c *client.Client, args []string) error { return a.update(ctx, c, args, &m) })
	cmd.Flags().BoolVar(&m.Upsert, "upsert", false, "insert the document if none matches")
	return cmd
}

func (a *app) deleteCommand() *cobra.Command {
	var m weftv1.DeleteRequest
	cmd := a.newCommand("delete DB COLLECTION FILTER", "Delete the first matching document", 3, 3,
		func(ctx context.Context, c *client.Client, args []string) (err error) {
			m.Database, m.Collection = args[0], args[1]
			if m.Filter, err = required("filter", args[2]); err != nil {
				return err
			}
			r, err := c.Documents.Delete(ctx, connect.NewRequest(&m))
			if err != nil {
				return err
			}
			deleted := r.Msg.GetDeleted()
			if deleted == 0 {
				if err := a.unknown(ctx, c, args[0], args[1]); err != nil {
					return err
				}
			}
			return a.print(map[string]int64{"deleted": deleted}, func(w io.Writer) { fmt.Fprintf(w, "%d deleted\n", deleted) })
		})
	cmd.Flags().BoolVar(&m.Multi, "many", false, "delete every matching document")
	return cmd
}

func (a *app) countCommand() *cobra.Command {
	return a.newCommand("count DB COLLECTION [FILTER]", "Count the matching documents", 2, 3,
		func(ctx context.Context, c *client.Client, args []string) error {
			filter, err := filter(args, 2)
			if err != nil {
				return err
			}
			r, err := c.Documents.Count(ctx, connect.NewRequest(&weftv1.CountRequest{Database: args[0], Collection: args[1], Filter: filter}))
			if err != nil {
				return err
			}
			if r.Msg.GetCount() == 0 {
				if err := a.unknown(ctx, c, args[0], args[1]); err != nil {
					return err
				}
			}
			return a.print(r.Msg.GetCount(), func(w io.Writer) { fmt.Fprintln(w, r.Msg.GetCount()) })
		})
}
