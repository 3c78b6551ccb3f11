package transfer

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
)

// A DocumentWriter writes the documents of one collection into a file. Its caller owes
// Close, which writes what is buffered.
type DocumentWriter interface {
	Write(doc bson.Raw) error
	Close() error
}

// NewDocumentWriter returns what writes files of a type. Fields are the columns of a table,
// which has no others; a dot leads into a subdocument.
func NewDocumentWriter(w io.Writer, t Type, fields []string) (DocumentWriter, error) {
	switch t {
	case CSV, TSV:
		rows := csv.NewWriter(w)
		if t == TSV {
			rows.Comma = '\t'
		}
		out := &tableWriter{rows: rows, row: make([]string, len(fields))}
		for _, f := range fields {
			out.paths = append(out.paths, strings.Split(f, "."))
		}
		return out, rows.Write(fields)
	case BSON:
		return binaryWriter{bufio.NewWriterSize(w, 64<<10)}, nil
	default:
		return NewEncoder(w), nil
	}
}

type binaryWriter struct{ *bufio.Writer }

func (b binaryWriter) Write(doc bson.Raw) error {
	_, err := b.Writer.Write(doc)
	return err
}

func (b binaryWriter) Close() error { return b.Flush() }

type tableWriter struct {
	rows  *csv.Writer
	paths [][]string
	row   []string
}

func (t *tableWriter) Write(doc bson.Raw) error {
	for i, path := range t.paths {
		t.row[i] = ""
		if v, err := doc.LookupErr(path...); err == nil {
			t.row[i] = cellText(v)
		}
	}
	return t.rows.Write(t.row)
}

func (t *tableWriter) Close() error {
	t.rows.Flush()
	return t.rows.Error()
}

// cellText returns a value as a cell, so that numbers and texts that cellValue reads are
// what they were: a whole double has a decimal point, and decimals are as they are written.
// What a table has no form for is relaxed Extended JSON.
func cellText(v bson.RawValue) string {
	switch v.Type {
	case bson.TypeNull, bson.TypeUndefined:
		return ""
	case bson.TypeString:
		return v.StringValue()
	case bson.TypeBoolean:
		return strconv.FormatBool(v.Boolean())
	case bson.TypeInt32, bson.TypeInt64:
		return strconv.FormatInt(v.AsInt64(), 10)
	case bson.TypeDouble:
		f := v.Double()
		text := strconv.FormatFloat(f, 'f', -1, 64)
		if f == math.Trunc(f) && !math.IsInf(f, 0) {
			text += ".0"
		}
		return text
	case bson.TypeDecimal128:
		return fmt.Sprint(v.Decimal128())
	case bson.TypeObjectID:
		return v.ObjectID().Hex()
	case bson.TypeDateTime:
		return time.UnixMilli(v.DateTime()).UTC().Format("2006-01-02T15:04:05.000Z")
	}
	return string(db.AppendJSONValue(nil, v, false))
}
