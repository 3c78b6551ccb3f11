package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"connectrpc.com/connect"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node/client"
)

// Bounds of one batch of an import.
const (
	batchDocuments = 1000
	batchBytes     = 2 << 20
)

// openInput opens a file, or standard input for "-", and unpacks gzip.
func (a *app) openInput(name string) (r io.Reader, size int64, done func() error, err error) {
	raw, size, done := a.in, int64(-1), func() error { return nil }
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, 0, nil, err
		}
		info, err := f.Stat()
		if err != nil {
			return nil, 0, nil, errors.Join(err, f.Close())
		}
		raw, size, done = f, info.Size(), f.Close
	}
	b := bufio.NewReaderSize(raw, 64<<10)
	bar := a.progress(size, "import")
	counted := io.TeeReader(b, bar)
	magic, _ := b.Peek(2) // less than 2 bytes are not gzip
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return counted, size, done, nil
	}
	z, err := gzip.NewReader(counted)
	if err != nil {
		return nil, 0, nil, errors.Join(fmt.Errorf("%s is not whole gzip: %w", name, err), done())
	}
	return gzipped{name, z}, size, done, nil
}

// A gzipped reads a file that is packed.
type gzipped struct {
	name string
	z    *gzip.Reader
}

func (g gzipped) Read(b []byte) (int, error) {
	n, err := g.z.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s is not whole gzip: %w", g.name, err)
	}
	return n, err
}

// progress returns a writer that shows how much went through it, if people see
// standard error. A size of -1 is not known.
func (a *app) progress(size int64, what string) io.Writer {
	if !terminal(a.err) {
		return io.Discard
	}
	return progressbar.NewOptions64(size, progressbar.OptionSetDescription(what), progressbar.OptionSetWriter(a.err),
		progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
}

func (a *app) importCommand() *cobra.Command {
	return a.newCommand("import DB COLLECTION FILE|-", "Insert the documents of a file, one a line, which may be gzipped", 3, 3,
		func(ctx context.Context, c *client.Client, args []string) error {
			in, _, done, err := a.openInput(args[2])
			if err != nil {
				return err
			}
			defer func() { _ = done() }() // it was only read
			start := time.Now()
			stream := c.Documents.Import(ctx)
			sendErr := sendBatches(in, args[0], args[1], stream)
			if errors.Is(sendErr, io.EOF) {
				sendErr = nil // the node ended it and says why
			}
			if sendErr != nil {
				return errors.Join(sendErr, closeImport(stream))
			}
			r, err := stream.CloseAndReceive()
			if err != nil {
				return err
			}
			seconds := time.Since(start).Seconds()
			out := struct {
				Inserted int64   `json:"inserted"`
				Seconds  float64 `json:"seconds"`
			}{r.Msg.GetInserted(), seconds}
			return a.print(out, func(w io.Writer) {
				fmt.Fprintf(w, "%d documents in %.2f s\n", out.Inserted, out.Seconds)
			})
		})
}

// closeImport ends an import that failed on this side; what was sent before is
// inserted.
func closeImport(stream *connect.ClientStreamForClient[weftv1.ImportRequest, weftv1.ImportResponse]) error {
	_, err := stream.CloseAndReceive()
	return err
}

// sendBatches sends the lines of in as batches. It returns io.EOF if the node
// does not want more.
func sendBatches(in io.Reader, database, collection string, stream *connect.ClientStreamForClient[weftv1.ImportRequest, weftv1.ImportResponse]) error {
	m, size := &weftv1.ImportRequest{Database: database, Collection: collection}, 0
	send := func() error {
		err := stream.Send(m)
		m, size = &weftv1.ImportRequest{}, 0
		return err
	}
	err := lines(in, func(n int, line []byte) error {
		d, err := client.Document(line)
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if size += len(d); size > batchBytes && len(m.Documents) > 0 {
			if err := send(); err != nil {
				return err
			}
			size = len(d)
		}
		if m.Documents = append(m.Documents, d); len(m.Documents) >= batchDocuments {
			return send()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return send() // an import of nothing names its database too
}

func (a *app) exportCommand() *cobra.Command {
	return a.newCommand("export DB [COLLECTION]", "Print documents exactly, one a line; of all collections with the collection's name", 1, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			if len(args) == 2 {
				return a.export(ctx, c, args[0], args[1], exact)
			}
			all, err := a.collections(ctx, c, args[0])
			if err != nil {
				return err
			}
			for _, x := range all {
				name, err := json.Marshal(x.Name)
				if err != nil {
					return err
				}
				prefix := fmt.Appendf(nil, `{"collection":%s,"document":`, name)
				err = a.export(ctx, c, args[0], x.Name, func(dst, doc []byte) []byte {
					return append(exact(append(dst, prefix...), doc), '}')
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
}

func (a *app) export(ctx context.Context, c *client.Client, database, collection string, text func([]byte, []byte) []byte) error {
	stream, err := c.Documents.Find(ctx, connect.NewRequest(&weftv1.FindRequest{Database: database, Collection: collection}))
	if err != nil {
		return err
	}
	_, err = a.printFound(stream, text)
	return err
}
