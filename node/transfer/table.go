package transfer

import (
	"bufio"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

	"github.com/weftdb/weft/internal/fault"
)

// A table reads the rows of a CSV or TSV file as documents. A column whose name has dots is
// a field of a subdocument. A cell that a number would be written as is that number: an int32
// or int64, or a double whose digits are those of the cell, but for zeros at its end.
// Everything else is text, "007", "1e5" and a number of too many digits, too.
//
//	_id,name,size.cm      {_id: 1, name: "Ann", size: {cm: 170.5}}
//	1,Ann,170.5
type table struct {
	in    *bounded
	rows  *csv.Reader
	names []string
	root  *column
}

// newTable reads the header, if the file has one.
func newTable(r *bufio.Reader, o ReaderOptions) (*table, error) {
	t := &table{in: &bounded{r: r}}
	t.rows = csv.NewReader(t.in)
	t.rows.FieldsPerRecord, t.rows.ReuseRecord = -1, true
	if o.Type == TSV {
		t.rows.Comma = '\t'
	}
	names := o.Fields
	if names == nil {
		var err error
		if names, err = t.read(); errors.Is(err, io.EOF) {
			return t, nil // empty: it has no row either
		} else if err != nil {
			if bad, ok := errors.AsType[*csv.ParseError](err); ok && !errors.Is(err, errLongRow) {
				err = quoteError(bad)
			}
			return nil, fault.Of(ErrFormat, "the line with the names of the columns: %w", err)
		}
	}
	if len(names) == 1 && strings.ContainsAny(names[0], ";\t,") {
		return nil, fault.Of(ErrFormat, "the one column has the name %.80q: the columns of a csv file are separated by commas, those of a tsv file by tabs", names[0])
	}
	if len(names) > maxColumns {
		return nil, fault.Of(ErrFormat, "the table has %d columns, at most %d are read", len(names), maxColumns)
	}
	t.root = &column{cell: -1}
	for i, name := range names {
		if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
			return nil, fault.Of(ErrFormat, "column %d has the name %.80q: a name is UTF-8 without control characters, and a line ends with LF or CR LF", i+1, name)
		}
		path := strings.Split(name, ".")
		if slices.Contains(path, "") {
			return nil, fault.Of(ErrFormat, "column %d has the name %.80q: a name has something before and after each dot", i+1, name)
		}
		if slices.Contains(names[:i], name) {
			return nil, fault.Of(ErrFormat, "column %d has the name of an earlier one, %.80q: rename it, or name all columns with --fields and take the first line out", i+1, name)
		}
		if !t.root.add(path, i) {
			return nil, fault.Of(ErrFormat, "column %d, %.80q, is a field of another column, or has one in it", i+1, name)
		}
	}
	t.names = slices.Clone(names)
	return t, nil
}

// maxColumns bounds a table: a document has 1 MiB.
const maxColumns = 10_000

// A column is a field of the documents: a cell of each row, or a subdocument of several.
type column struct {
	name   string
	cell   int // -1 for a subdocument
	fields []*column
	byName map[string]*column
}

// add adds the cell at a path; false says that a cell is there, or on the way, or below.
func (c *column) add(path []string, cell int) bool {
	if c.cell >= 0 {
		return false
	}
	sub := c.byName[path[0]]
	if len(path) == 1 && sub != nil {
		return false
	}
	if sub == nil {
		sub = &column{name: path[0], cell: -1}
		if c.byName == nil {
			c.byName = map[string]*column{}
		}
		c.byName[path[0]] = sub
		c.fields = append(c.fields, sub)
	}
	if len(path) == 1 {
		sub.cell = cell
		return true
	}
	return sub.add(path[1:], cell)
}

// document returns what a row says of the column's fields.
func (c *column) document(row []string) bson.D {
	doc := make(bson.D, len(c.fields))
	for i, f := range c.fields {
		if doc[i].Key = f.name; f.cell >= 0 {
			doc[i].Value = cellValue(row[f.cell])
		} else {
			doc[i].Value = f.document(row)
		}
	}
	return doc
}

// next returns the next row.
func (t *table) next() (Item, error) {
	row, err := t.read()
	if errors.Is(err, io.EOF) {
		return Item{}, io.EOF
	}
	var bad *csv.ParseError
	if errors.As(err, &bad) && !errors.Is(err, errLongRow) {
		return Item{Line: uint64(bad.StartLine), Err: quoteError(bad)}, nil
	}
	if err != nil {
		return Item{}, err
	}
	line, _ := t.rows.FieldPos(0)
	it := Item{Line: uint64(line)}
	if len(row) != len(t.names) {
		it.Err = fault.Of(ErrFormat, "the row has another number of cells than there are columns: %d, not %d", len(row), len(t.names))
		return it, nil
	}
	for i, cell := range row {
		if !utf8.ValidString(cell) {
			it.Err = fault.Of(ErrFormat, "the cell of %.80q is not UTF-8", t.names[i])
			return it, nil
		}
	}
	if it.Document, err = bson.Marshal(t.root.document(row)); err != nil {
		it.Err = fault.Of(ErrFormat, "%v", err)
	}
	return it, nil
}

// quoteError says what is wrong with a row: with a quote, as nothing else can be.
func quoteError(bad *csv.ParseError) error {
	if errors.Is(bad.Err, csv.ErrBareQuote) {
		return fault.Of(ErrFormat, "a quote is within a cell that does not begin with one (byte %d of line %d): write the cell in quotes, and each quote in it twice", bad.Column, bad.Line)
	}
	return fault.Of(ErrFormat, "a cell that begins with a quote does not end with one (byte %d of line %d): write each quote within a cell twice", bad.Column, bad.Line)
}

func (t *table) read() ([]string, error) {
	t.in.left = MaxLine
	return t.rows.Read()
}

// cellValue returns what a cell means: an int32 or int64, a double, or its text.
func cellValue(s string) any {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && strconv.FormatInt(n, 10) == s {
		if n == int64(int32(n)) {
			return int32(n)
		}
		return n
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && strings.Contains(s, ".") && !strings.HasSuffix(s, ".") {
		if exact := strings.TrimSuffix(strings.TrimRight(s, "0"), "."); strconv.FormatFloat(f, 'f', -1, 64) == exact {
			return f
		}
	}
	return s
}

// errLongRow reports a row that does not end, as one with a quote too much.
var errLongRow = fault.Of(ErrFormat, "a row has more than %d bytes: is a quote missing?", MaxLine)

// bounded reads until so many bytes are used up.
type bounded struct {
	r    io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLongRow
	}
	n, err := b.r.Read(p)
	b.left -= n
	return n, err
}

// binaryDocuments reads BSON documents, one after the other.
type binaryDocuments struct {
	r *bufio.Reader
	n uint64
}

func (b *binaryDocuments) next() (Item, error) {
	b.n++
	head, err := b.r.Peek(4)
	if errors.Is(err, io.EOF) && len(head) == 0 {
		return Item{}, io.EOF
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return Item{}, err
	}
	cut := fault.Of(ErrCut, "document %d of the file is incomplete", b.n)
	if len(head) < 4 {
		return Item{}, cut
	}
	size := int64(uint32(head[0]) | uint32(head[1])<<8 | uint32(head[2])<<16 | uint32(head[3])<<24)
	if size < 5 || size > MaxLine {
		return Item{}, fault.Of(ErrFormat, "document %d of the file says that it has %d bytes: this is no BSON file, or it is damaged", b.n, size)
	}
	doc := make([]byte, size)
	if _, err := io.ReadFull(b.r, doc); errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return Item{}, cut
	} else if err != nil {
		return Item{}, err
	}
	if err := bson.Raw(doc).Validate(); err != nil {
		return Item{Line: b.n, Err: fault.Of(ErrFormat, "document %d is not BSON: %v", b.n, err)}, nil
	}
	return Item{Line: b.n, Document: canonical(make([]byte, 0, size), doc, false, 1)}, nil
}

// maxNested is how deep canonical goes; documents have at most half as many levels.
const maxNested = 200

// canonical appends a document or array in the one form that databases keep, where BSON
// leaves a choice: the keys of an array are 0, 1, …, and there is one NaN. Drivers differ in
// these and mean the same.
func canonical(dst []byte, doc bson.Raw, array bool, depth int) []byte {
	if depth > maxNested {
		return append(dst, doc...) // it is refused for its depth
	}
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	rest := []byte(doc[4 : len(doc)-1])
	for i := 0; len(rest) > 0; i++ {
		e, after, ok := bsoncore.ReadElement(rest)
		if !ok {
			return append(dst[:at], doc...) // it was validated
		}
		rest = after
		key := e.Key()
		if array {
			key = strconv.Itoa(i)
		}
		dst = bsoncore.AppendHeader(dst, bsoncore.Type(e[0]), key)
		v := e.Value()
		switch f, double := v.DoubleOK(); {
		case v.Type == bsoncore.TypeEmbeddedDocument, v.Type == bsoncore.TypeArray:
			dst = canonical(dst, v.Data, v.Type == bsoncore.TypeArray, depth+1)
		case double && math.IsNaN(f):
			dst = bsoncore.AppendDouble(dst, math.Float64frombits(0x7ff8000000000000))
		case v.Type == bsoncore.TypeDecimal128 && isNaN(v):
			dst = bsoncore.AppendDecimal128(dst, 0x7c00000000000000, 0)
		default:
			dst = append(dst, v.Data...)
		}
	}
	dst = append(dst, 0)
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at))
	return dst
}

// isNaN reports whether a decimal is no number.
func isNaN(v bsoncore.Value) bool {
	high, _ := v.Decimal128()
	return high>>58&0x1f == 0x1f
}
