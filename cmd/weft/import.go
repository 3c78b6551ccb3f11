package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/weftdb/weft/internal/fault"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/cmd/weft/internal/words"
	"github.com/weftdb/weft/node/client"
	"github.com/weftdb/weft/node/transfer"
)

// Bounds of one batch of documents.
const (
	batchDocuments = 1000
	batchBytes     = 2 << 20
)

// openInput opens a file, or standard input for "-"; onIdle sets what is done when nothing comes.
func (a *app) openInput(ctx context.Context, name string) (r io.Reader, onIdle func(f func() error), done func() error, err error) {
	raw, size, done := a.input, int64(-1), func() error { return nil }
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, nil, nil, err
		}
		info, err := f.Stat()
		if err != nil {
			return nil, nil, nil, errors.Join(err, f.Close())
		}
		raw, size, done = tty.Input(ctx, f), info.Size(), f.Close
	}
	return io.TeeReader(raw, a.progress(size, "import")), func(f func() error) { tty.OnIdle(raw, f) }, done, nil
}

// A progress shows how much was done, to people.
type progress interface {
	io.Writer // counts what goes through it
	Add64(bytes int64) error
}

// noProgress is that of a program that nobody watches.
type noProgress struct{ io.Writer }

func (noProgress) Add64(int64) error { return nil }

// progress returns what shows how much was done, if people see standard error. A
// size of -1 is not known.
func (a *app) progress(size int64, what string) progress {
	if !terminal(a.err) {
		return noProgress{io.Discard}
	}
	a.bar = newBar(tty.Raw(a.err), size, what)
	return a.bar
}

func newBar(w io.Writer, size int64, what string) *progressbar.ProgressBar {
	return progressbar.NewOptions64(size, progressbar.OptionSetDescription(what), progressbar.OptionSetWriter(w),
		progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
}

// endProgress takes away the bar that a command shows, before it says what came of it.
func (a *app) endProgress() {
	if a.bar == nil {
		return
	}
	a.bar.ChangeMax64(1) // one without an end never comes to it
	_ = a.bar.Finish()   // for people only
	a.bar = nil
}

// An importer sends what a file holds to a node.
type importer struct {
	stream  *connect.ClientStreamForClient[weftv1.ImportRequest, weftv1.ImportResponse]
	goOn    bool
	m       *weftv1.ImportRequest
	size    int
	coll    string // of what was sent last
	over    bool   // a line could not be read, which ends the import: the node says so
	stopped error  // why this side ended early
}

// flush sends the batch; io.EOF says that the node does not want more.
func (i *importer) flush() error {
	m := i.m
	if len(m.GetDocuments()) == 0 && len(m.GetUnread()) == 0 && m.GetDatabase() == "" && m.GetCollection() == "" && m.GetDefinition() == nil {
		return nil
	}
	i.m, i.size = &weftv1.ImportRequest{}, 0
	return i.stream.Send(m)
}

// idle sends what there is, and has it stored: a message that names the collection begins it
// again, and ends the batch.
func (i *importer) idle() error {
	if len(i.m.GetDocuments()) == 0 && len(i.m.GetUnread()) == 0 {
		return nil
	}
	if err := i.flush(); err != nil {
		return err
	}
	return i.stream.Send(&weftv1.ImportRequest{Collection: i.coll})
}

// send sends a document or a definition, or that a line could not be read: the node counts
// that with what it refuses, so that one limit holds for both.
func (i *importer) send(it transfer.Item) error {
	switch {
	case it.Err != nil:
		f := &weftv1.ImportFailure{Line: it.Line, Collection: it.Collection, Code: string(fault.KindOf(it.Err)), Message: it.Err.Error()}
		i.m.Unread, i.size, i.over = append(i.m.Unread, f), i.size+len(f.GetMessage()), !i.goOn
		if i.size > batchBytes || len(i.m.Unread) >= batchDocuments {
			return i.flush()
		}
		return nil
	case it.Definition != nil:
		if err := i.flush(); err != nil {
			return err
		}
		i.m.Collection, i.m.Definition = it.Collection, it.Definition
		return i.flush()
	}
	if i.size+len(it.Document) > batchBytes && len(i.m.Documents) > 0 || len(i.m.Documents) >= batchDocuments {
		if err := i.flush(); err != nil {
			return err
		}
	}
	i.m.Documents, i.m.Lines = append(i.m.Documents, it.Document), append(i.m.Lines, it.Line)
	i.size += len(it.Document)
	return nil
}

// A source gives the items of an import; its error is io.EOF at the end.
type source func() (transfer.Item, error)

// run sends everything that src gives, those of one collection together.
func (i *importer) run(src source) error {
	last := ""
	for i.stopped == nil && !i.over {
		it, err := src()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			i.stopped = err
			break
		}
		if it.Err == nil && it.Definition == nil && it.Collection != last {
			if err := i.flush(); err != nil {
				return err
			}
			i.m.Collection = it.Collection
			if it.Collection != "" {
				i.coll = it.Collection
			}
		}
		if it.Err == nil {
			last = it.Collection
		}
		if err := i.send(it); err != nil {
			return err
		}
	}
	return i.flush()
}

// A failureOutput is a line that was not imported.
type failureOutput struct {
	Line       uint64 `json:"line"`
	Collection string `json:"collection,omitempty"`
	Code       string `json:"code"`
	Message    string `json:"message"`
}

// An importOutput says what an import did.
type importOutput struct {
	Inserted int64           `json:"inserted"`
	Replaced int64           `json:"replaced"`
	Skipped  int64           `json:"skipped"`
	Failed   int64           `json:"failed"`
	Failures []failureOutput `json:"failures"`
	Notes    []string        `json:"notes,omitempty"`
	Seconds  float64         `json:"seconds"`
}

func (o importOutput) print(w io.Writer) {
	fmt.Fprintf(w, "%s in %.2f s", words.Count(o.Inserted+o.Replaced, "document"), o.Seconds)
	for _, part := range []struct {
		n    int64
		what string
	}{{o.Replaced, "replaced"}, {o.Skipped, "skipped"}, {o.Failed, "failed"}} {
		if part.n > 0 {
			fmt.Fprintf(w, ", %d %s", part.n, part.what)
		}
	}
	fmt.Fprintln(w)
}

// An importFlags says how to import.
type importFlags struct {
	duplicate   string
	goOn, fresh bool
	most        uint32
	kind        string   // of the file
	fields      []string // its columns
}

func (o *importFlags) set(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.duplicate, "on-duplicate", "fail", "what to do if a document with the _id exists: fail, skip or replace")
	f.BoolVar(&o.goOn, "continue", false, "continue after lines that fail; they are reported and the exit status is 1")
	f.Uint32Var(&o.most, "max-errors", 0, "with --continue, stop after N lines that cannot be read or are refused; 0 never stops")
	f.BoolVar(&o.fresh, "new-ids", false, "give documents without an _id a random one (default one derived from the file, so that importing again adds nothing)")
}

// form returns the type of a file: the one that was asked for, or what its name says.
func (o *importFlags) form(name, collection string) (transfer.Type, error) {
	asked := o.kind
	if asked == "" {
		plain := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(name), ".gz"), ".zst")
		if ext := strings.TrimPrefix(filepath.Ext(plain), "."); ext == "csv" || ext == "tsv" || ext == "bson" {
			asked = ext
		}
	}
	form, err := transfer.ParseType(asked)
	switch {
	case err != nil:
		return "", usagef("invalid --type %q: want json, csv, tsv or bson", o.kind)
	case form != transfer.JSON && collection == "":
		return "", usagef("a %s file holds the documents of one collection: name it", form)
	case o.fields != nil && form != transfer.CSV && form != transfer.TSV:
		return "", usagef("--fields goes with a csv or tsv file")
	}
	return form, nil
}

// doImport sends what src gives to a collection, or with "" to those it names,
// and reports.
func (a *app) doImport(ctx context.Context, c *client.Client, database, collection string, o importFlags, src source, onIdle func(f func() error), notes func() []string) error {
	if _, err := transfer.ParseDuplicates(o.duplicate); err != nil {
		return usagef("invalid --on-duplicate %q: want fail, skip or replace", o.duplicate)
	}
	if o.most > 0 && !o.goOn {
		return usagef("--max-errors goes with --continue")
	}
	start := time.Now()
	i := &importer{
		stream: c.Documents.Import(ctx), goOn: o.goOn, coll: collection,
		m: &weftv1.ImportRequest{Database: database, Collection: collection, OnDuplicate: o.duplicate, GoOn: o.goOn, MaxFailures: o.most},
	}
	if err := i.flush(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if onIdle != nil {
		onIdle(i.idle)
	}
	sendErr := i.run(func() (transfer.Item, error) {
		it, err := src()
		if collection != "" {
			it.Collection = ""
		}
		return it, err
	})
	if errors.Is(sendErr, io.EOF) {
		sendErr = nil // the node ended it and says why
	}
	r, err := i.stream.CloseAndReceive()
	if err = errors.Join(sendErr, err); err != nil && ctx.Err() != nil {
		return fault.Of(errInterrupted, "interrupted. What was imported until then is stored: run again with --on-duplicate skip to continue")
	}
	if err != nil {
		return err
	}
	out := importOutput{
		Inserted: r.Msg.GetInserted(), Replaced: r.Msg.GetReplaced(), Skipped: r.Msg.GetSkipped(),
		Failed: r.Msg.GetFailed(), Failures: []failureOutput{}, Seconds: time.Since(start).Seconds(),
	}
	if notes != nil {
		out.Notes = notes()
	}
	for _, f := range r.Msg.GetFailures() {
		out.Failures = append(out.Failures, failureOutput{f.GetLine(), f.GetCollection(), f.GetCode(), f.GetMessage()})
	}
	return a.imported(out, r.Msg.GetStopped(), i.stopped)
}

// imported reports an import, also one that ended early.
func (a *app) imported(out importOutput, theirs string, ours error) error {
	if !a.json {
		for _, n := range out.Notes {
			fmt.Fprintf(a.err, "weft: note: %s\n", n)
		}
		if theirs == "" && ours == nil {
			for _, f := range out.Failures {
				fmt.Fprintf(a.err, "weft: line %d: %s\n", f.Line, f.Message)
			}
			if more := out.Failed - int64(len(out.Failures)); more > 0 {
				fmt.Fprintf(a.err, "weft: and %d others\n", more)
			}
		}
	}
	if err := a.print(out, out.print); err != nil {
		return err
	}
	const again = "The documents counted above are stored: run again with --on-duplicate skip to continue"
	kind := fault.KindOf(ours)
	if len(out.Failures) > 0 {
		kind = fault.Known(out.Failures[0].Code, fault.Internal)
	}
	switch {
	case theirs != "":
		return fault.Errorf(kind, "%s. %s", theirs, again)
	case ours != nil:
		return fault.Errorf(kind, "%v. %s", ours, again)
	case out.Failed == 1:
		return fault.Errorf(kind, "1 line was not imported")
	case out.Failed > 0:
		return fault.Errorf(kind, "%d lines were not imported", out.Failed)
	}
	return nil
}

func (a *app) importCommand() *cobra.Command {
	var o importFlags
	cmd := a.newCommand("import DB [COLLECTION] FILE|-", "Insert the documents of a file, or everything in an export of a database", 2, 3,
		func(ctx context.Context, c *client.Client, args []string) error {
			name, collection := args[len(args)-1], ""
			if len(args) == 3 {
				if collection = args[1]; collection == "" {
					return usagef("the name of the collection is empty")
				}
			}
			form, err := o.form(name, collection)
			if err != nil {
				return err
			}
			raw, onIdle, done, err := a.openInput(ctx, name)
			if err != nil {
				return err
			}
			defer func() { _ = done() }() // it was only read
			in, err := transfer.NewReader(raw, transfer.ReaderOptions{Type: form, Fields: o.fields, Tagged: collection == "", NewIDs: o.fresh})
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			defer in.Close()
			return a.doImport(ctx, c, args[0], collection, o, func() (transfer.Item, error) {
				it, err := in.Next()
				if err != nil && !errors.Is(err, io.EOF) {
					err = fmt.Errorf("%s: %w", name, err)
				}
				return it, err
			}, onIdle, nil)
		})
	cmd.Flags().StringVar(&o.kind, "type", "", "type of the file: json, csv, tsv or bson (default by its name, else json)")
	cmd.Flags().StringSliceVar(&o.fields, "fields", nil, "names of the columns of a csv or tsv file that does not begin with them")
	cmd.Long = cmd.Short + ".\n\nA file has documents in Extended JSON, one per line or one after the other, or one array of documents; or the rows of a\n" +
		"table (csv, tsv), of which the first has the names of the fields; or documents in BSON, as mongodump writes them. It can be\n" +
		"compressed with gzip or zstd. What comes from a pipe is stored as it comes; with --new-ids, from the first line on.\n" +
		"Without COLLECTION it is what weft export DB printed, definitions included. After a crash, run it again with --on-duplicate skip."
	o.set(cmd)
	return cmd
}

// An exportFlags says what to export of a collection, and how.
type exportFlags struct {
	query, kind string
	fields      []string
}

// form returns the type of the file, for one collection or a whole database.
func (o *exportFlags) form(collection string) (transfer.Type, error) {
	form, err := transfer.ParseType(o.kind)
	switch {
	case err != nil:
		return "", usagef("invalid --type %q: want json, csv, tsv or bson", o.kind)
	case collection == "" && (o.query != "" || o.fields != nil || form != transfer.JSON):
		return "", usagef("--query, --fields and --type go with one collection: name it")
	case (form == transfer.CSV || form == transfer.TSV) && len(o.fields) == 0:
		return "", usagef("a %s file has the columns that --fields names, such as --fields name,country", form)
	}
	return form, nil
}

func (a *app) exportCommand() *cobra.Command {
	var o exportFlags
	cmd := a.newCommand("export DB [COLLECTION]", "Print documents exactly, one per line; without COLLECTION, of all collections with their definitions", 1, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			collection := append(args, "")[1]
			form, err := o.form(collection)
			if err != nil {
				return err
			}
			if collection == "" {
				return a.exportDatabase(ctx, c, args[0])
			}
			found, err := a.exportCollection(ctx, c, args[0], collection, form, o)
			if err == nil && found == 0 {
				err = a.unknown(ctx, c, args[0], collection)
			}
			return err
		})
	cmd.Long = cmd.Short + ".\n\nA document that Extended JSON cannot give back, as fields of its own are named like $oid or $date, is an error: export\n" +
		"its collection with --type bson. All collections are exported as of one moment. weft import DB FILE reads what this prints for a database, and\n" +
		"weft import DB COLLECTION FILE what it prints for a collection."
	f := cmd.Flags()
	f.StringVar(&o.query, "query", "", "only the documents that match this filter")
	f.StringSliceVar(&o.fields, "fields", nil, "only these fields, and _id if the type is json or bson; of csv and tsv they are the columns, in this order")
	f.StringVar(&o.kind, "type", "json", "type of the file: json, csv, tsv or bson")
	return cmd
}

func (a *app) exportDatabase(ctx context.Context, c *client.Client, database string) error {
	out, err := transfer.NewDatabaseEncoder(a.out, database)
	if err != nil {
		return err
	}
	stream, err := c.Documents.Export(ctx, connect.NewRequest(&weftv1.ExportRequest{Database: database}))
	if err != nil {
		return err
	}
	if err = errors.Join(export(out, stream), stream.Close()); err != nil {
		return err
	}
	return out.Close()
}

// exportCollection writes the documents of a collection that match,
// and returns how many there were.
func (a *app) exportCollection(ctx context.Context, c *client.Client, database, collection string, form transfer.Type, o exportFlags) (found int64, err error) {
	m := &weftv1.FindRequest{Database: database, Collection: collection}
	if m.Filter, err = document("--query", o.query); err != nil {
		return 0, err
	}
	if len(o.fields) > 0 {
		if m.Projection, err = fieldList("--projection", strings.Join(o.fields, ",")); err != nil {
			return 0, err
		}
	}
	to := a.out
	if form != transfer.JSON { // where an escape would be text
		to = a.bytes()
	}
	if form == transfer.BSON && terminal(a.out) {
		return 0, usagef("a bson file is no text: send standard output to a file")
	}
	out, err := transfer.NewDocumentWriter(to, form, o.fields)
	if err != nil {
		return 0, err
	}
	stream, err := c.Documents.Find(ctx, connect.NewRequest(m))
	if err != nil {
		return 0, err
	}
	for stream.Receive() {
		for _, d := range stream.Msg().GetDocuments() {
			if err := out.Write(d); err != nil {
				return found, errors.Join(fmt.Errorf("collection %s: %w", collection, err), stream.Close())
			}
			found++
		}
	}
	return found, errors.Join(stream.Err(), out.Close(), stream.Close())
}

func export(out *transfer.Encoder, stream *connect.ServerStreamForClient[weftv1.ExportResponse]) error {
	for stream.Receive() {
		m := stream.Msg()
		if m.GetCollection() != "" {
			definition := m.GetDefinition()
			if err := out.Use(m.GetCollection(), bytes.Clone(definition)); err != nil {
				return err
			}
		}
		for _, d := range m.GetDocuments() {
			if err := out.Write(d); err != nil {
				return err
			}
		}
	}
	return stream.Err()
}
