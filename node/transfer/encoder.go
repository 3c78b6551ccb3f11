package transfer

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/fault"
)

// What marks the first and the last line of an export of a whole database.
const (
	wordBegin     = "export"
	wordEnd       = "end"
	exportVersion = 1
)

// An Encoder writes documents as canonical Extended JSON, one a line: reading them gives
// the same bytes. A document of which that is not so is an error of Write. Its caller owes Close. It belongs to one goroutine. What it has written
// is whole only after Close: lines are buffered, and a tagged file says at its end how many
// documents it has.
type Encoder struct {
	w      *bufio.Writer
	tagged bool
	prefix []byte // of a line with a document
	line   []byte
	docs   uint64
	coll   string // in use
}

// NewEncoder returns an encoder of one collection's documents.
func NewEncoder(w io.Writer) *Encoder { return &Encoder{w: bufio.NewWriterSize(w, 64<<10)} }

// NewDatabaseEncoder returns an encoder of a whole database: its lines name their
// collections, and its first and last line say that it is whole.
func NewDatabaseEncoder(w io.Writer, database string) (*Encoder, error) {
	e := NewEncoder(w)
	e.tagged = true
	return e, e.json(struct {
		Weft     string `json:"weft"`
		Version  int    `json:"version"`
		Database string `json:"database"`
	}{wordBegin, exportVersion, database})
}

func (e *Encoder) json(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = e.w.Write(append(b, '\n'))
	return err
}

// Use begins a collection, with its definition if it has one. An encoder of one collection
// ignores it: its lines name none, and a file for one collection has no definition.
func (e *Encoder) Use(collection string, definition bson.Raw) error {
	if !e.tagged {
		return nil
	}
	e.coll = collection
	name, err := json.Marshal(collection)
	if err != nil {
		return err
	}
	e.prefix = fmt.Appendf(nil, `{"collection":%s,"document":`, name)
	if definition == nil {
		return nil
	}
	if name := db.Wrapper(definition); name != "" {
		return inexact("the definition of collection "+collection, name)
	}
	e.line = db.AppendJSON(fmt.Appendf(e.line[:0], `{"collection":%s,"definition":`, name), definition, true)
	_, err = e.w.Write(append(e.line, '}', '\n'))
	return err
}

// Write writes a document of the collection in use.
func (e *Encoder) Write(doc bson.Raw) error {
	if name := db.Wrapper(doc); name != "" {
		what := "the document"
		if e.coll != "" {
			what += " of collection " + e.coll
		}
		if id, err := doc.LookupErr("_id"); err == nil {
			what += " with the _id " + string(db.AppendJSONValue(nil, id, false))
		}
		return inexact(what, name)
	}
	e.docs++
	e.line = db.AppendJSON(append(e.line[:0], e.prefix...), doc, true)
	if e.tagged {
		e.line = append(e.line, '}')
	}
	e.line = append(e.line, '\n')
	_, err := e.w.Write(e.line)
	return err
}

// inexact says that text would not give something back.
func inexact(what, field string) error {
	return fault.Of(ErrInexact, "%.300s has a field %s of its own, which Extended JSON takes for another type: export its collection with --type bson", what, field)
}

// Documents returns how many documents were written.
func (e *Encoder) Documents() uint64 { return e.docs }

// Close writes the last line and what is buffered. It does not close what it writes to.
// After an error it is not to be called: a tagged file that lacks its last line is taken
// for whole by no import.
func (e *Encoder) Close() error {
	if e.tagged {
		err := e.json(struct {
			Weft      string `json:"weft"`
			Documents uint64 `json:"documents"`
		}{wordEnd, e.docs})
		if err != nil {
			return err
		}
	}
	return e.w.Flush()
}
