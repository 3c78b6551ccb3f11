// Package show prints documents for people and programs: as lines of JSON, or in tables.
package show

import (
	"bufio"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/node/client"
)

// Bounds of a table of documents.
const (
	tableDocuments = 100 // after which another table begins
	tableColumns   = 16
	cellWidth      = 40 // in characters
)

// Documents prints documents, as lines of JSON or in tables.
type Documents struct {
	w    *bufio.Writer
	line []byte

	tables bool
	docs   []bson.Raw // of the table that is not printed yet
}

// NewDocuments returns what prints documents to w; the caller owes Flush.
func NewDocuments(w io.Writer, tables bool) *Documents {
	return &Documents{w: bufio.NewWriterSize(w, 64<<10), tables: tables}
}

// Write prints a document.
func (d *Documents) Write(doc bson.Raw) error {
	if d.tables {
		if d.docs = append(d.docs, doc); len(d.docs) == tableDocuments {
			return d.table()
		}
		return nil
	}
	d.line = append(client.Text(d.line[:0], doc), '\n')
	_, err := d.w.Write(d.line)
	return err
}

// Flush prints what waits: the rows of a table.
func (d *Documents) Flush() error {
	if err := d.table(); err != nil {
		return err
	}
	return d.w.Flush()
}

// table prints the documents that wait: a column for each field that one of them has, in
// the order in which they are met.
func (d *Documents) table() error {
	if len(d.docs) == 0 {
		return nil
	}
	var names []string
	at := map[string]int{}
	rows := make([]map[string]string, len(d.docs))
	more := false
	for i, doc := range d.docs {
		rows[i] = map[string]string{}
		elements, err := doc.Elements()
		if err != nil {
			return err
		}
		for _, e := range elements {
			if _, known := at[e.Key()]; !known && len(names) == tableColumns {
				more = true
				continue
			} else if !known {
				at[e.Key()] = len(names)
				names = append(names, e.Key())
			}
			rows[i][e.Key()] = cell(e.Value())
		}
	}
	lines := make([][]string, 1, len(rows)+1)
	for _, name := range names {
		lines[0] = append(lines[0], cut(tty.Printable(name)))
	}
	for _, row := range rows {
		line := make([]string, len(names))
		for i, name := range names {
			line[i] = row[name]
		}
		lines = append(lines, line)
	}
	d.docs = d.docs[:0]
	if err := align(d.w, lines); err != nil || !more {
		return err
	}
	_, err := io.WriteString(d.w, "there are more fields: name those to see with --projection\n")
	return err
}

// align writes lines whose cells stand in columns. A table of documents has empty cells,
// which end a column to package tabwriter.
func align(w *bufio.Writer, lines [][]string) error {
	var widths []int
	for _, line := range lines {
		for i, c := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	for _, line := range lines {
		var b strings.Builder
		for i, c := range line {
			b.WriteString(c)
			b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)+2))
		}
		if _, err := w.WriteString(strings.TrimRight(b.String(), " ") + "\n"); err != nil {
			return err
		}
	}
	return nil
}

// cell returns a value for people: a text as it is, everything else as JSON.
func cell(v bson.RawValue) string {
	if s, ok := v.StringValueOK(); ok {
		return cut(tty.Printable(s))
	}
	if id, ok := v.ObjectIDOK(); ok {
		return id.Hex()
	}
	if ms, ok := v.DateTimeOK(); ok {
		return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05.999Z")
	}
	return cut(tty.Printable(string(client.ValueText(v))))
}

// cut shortens a text to the width of a cell.
func cut(s string) string {
	if r := []rune(s); len(r) > cellWidth {
		return string(r[:cellWidth-1]) + "…"
	}
	return s
}
