package transfer

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/fault"
)

// fingerprinted is how much of a file its fingerprint covers, in bytes. It is as much as is
// buffered anyway, so that the fingerprint is known before the first document is read, of a
// stream as well. Files that begin with the same 64 KiB have one fingerprint; the place and
// the document are in an _id beside it.
const fingerprinted = 64 << 10

// byteOrderMark is what some programs write before a text in UTF-8. It is not of the text:
// the same file without it has the same fingerprint.
const byteOrderMark = "\xef\xbb\xbf"

// A Type is the form of a file's documents.
type Type string

// The types.
const (
	JSON Type = "json" // Extended JSON
	CSV  Type = "csv"  // a row a document (RFC 4180)
	TSV  Type = "tsv"  // the same with tabs
	BSON Type = "bson" // one document after the other, as mongodump writes them
)

// ParseType reads a type; "" means JSON.
func ParseType(s string) (Type, error) {
	switch t := Type(s); t {
	case "":
		return JSON, nil
	case JSON, CSV, TSV, BSON:
		return t, nil
	}
	return "", fault.Errorf(fault.InvalidArgument, "invalid type of a file %.40q: want json, csv, tsv or bson", s)
}

// ReaderOptions say what a file holds.
type ReaderOptions struct {
	Type Type // "" means JSON
	// Fields names the columns of a CSV or TSV file that does not begin with their
	// names; nil means that it does.
	Fields []string
	// Tagged means that each line names its collection: the file is an export of
	// a whole database.
	Tagged bool
	// NewIDs leaves documents without an _id as they are, to get a new one. By
	// default they get one that follows from the file, the place in it and the
	// document, so that importing the same file again adds nothing.
	NewIDs bool
}

// A Reader reads the documents of a file: in Extended JSON v2, canonical or relaxed, one a
// line, each over several lines, or the elements of one array; the rows of a table; or BSON.
// The file may be packed by gzip or zstd. A Reader belongs to one goroutine.
type Reader struct {
	o     ReaderOptions
	in    splitter
	other func() (Item, error) // reads what is not JSON; nil if it is
	print [sha256.Size]byte    // of the file
	count uint64               // documents so far
	tags  tags
	close func()
}

// NewReader returns a reader of r; the caller owes Close, which does not close r.
func NewReader(r io.Reader, o ReaderOptions) (*Reader, error) {
	b, free, err := unpack(r)
	if err != nil {
		return nil, err
	}
	out := &Reader{o: o, close: free}
	if mark, _ := b.Peek(len(byteOrderMark)); o.Type != BSON && string(mark) == byteOrderMark {
		_, _ = b.Discard(len(byteOrderMark)) // was peeked
	}
	covers := fingerprinted
	if o.NewIDs {
		covers = len("\xff\xfe") // a pipe may stay open before more comes
	}
	begin, err := b.Peek(covers)
	if err != nil && !errors.Is(err, io.EOF) && len(begin) == 0 {
		out.close()
		return nil, cutShort(err)
	}
	out.print = sha256.Sum256(begin)
	if o.Type == BSON {
		out.other = (&binaryDocuments{r: b}).next
		return out, nil
	}
	if bytes.HasPrefix(begin, []byte("\xff\xfe")) || bytes.HasPrefix(begin, []byte("\xfe\xff")) {
		out.close()
		return nil, fault.Of(ErrFormat, "the text is in UTF-16: save it as UTF-8")
	}
	if o.Type == CSV || o.Type == TSV {
		t, err := newTable(b, o)
		if err != nil {
			out.close()
			return nil, err
		}
		out.other = t.next
		return out, nil
	}
	out.in = splitter{r: b, line: 1}
	return out, nil
}

// unpack returns what r holds, unpacked if it is packed, and what frees it. What is packed
// is known by its first bytes and not by its name, so that a stream can be packed too. The
// memory of zstd is bounded, since a file can ask for any window.
func unpack(r io.Reader) (b *bufio.Reader, free func(), err error) {
	b = bufio.NewReaderSize(r, fingerprinted)
	magic, _ := b.Peek(4) // less are no magic
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, nil, cutShort(err)
		}
		return bufio.NewReaderSize(z, fingerprinted), func() {}, nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
		if err != nil {
			return nil, nil, cutShort(err)
		}
		return bufio.NewReaderSize(z, fingerprinted), z.Close, nil
	}
	return b, func() {}, nil
}

// cutShort names an end that comes too early. Others, such as of the disk, are passed on as they
// are.
func cutShort(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader) {
		return fault.Of(ErrCut, "the compressed file is incomplete")
	}
	return err
}

// Close frees the reader.
func (r *Reader) Close() { r.close() }

// Next returns what the file holds next. A line that is no document is an Item
// with an Err; the error is io.EOF at the end, or says why the file cannot be
// read on.
func (r *Reader) Next() (Item, error) {
	if r.other != nil {
		it, err := r.other()
		if err != nil && !errors.Is(err, io.EOF) {
			err = cutShort(err)
		}
		return r.counted(it), err
	}
	for {
		text, line, err := r.in.next()
		if errors.Is(err, io.EOF) {
			return Item{}, r.tags.end(r.o.Tagged)
		}
		if err != nil {
			return Item{}, cutShort(err)
		}
		it := Item{Line: line}
		if r.o.Tagged {
			var skip bool
			if it, skip = r.tags.read(text, line); skip {
				continue
			}
		} else if it.Document, err = parse(text); err != nil {
			it.Err = err
		}
		return r.counted(it), nil
	}
}

// counted counts a document, and gives it an _id if it has none.
func (r *Reader) counted(it Item) Item {
	if it.Document != nil {
		r.count++
		if !r.o.NewIDs {
			it.Document = r.withID(it.Document)
		}
	}
	return it
}

// withID gives a document without an _id one: a ULID whose first 48 bits are the place in
// the file, so that the order stays, and whose others are a hash. It is written as the
// first element, by hand: the other elements keep their bytes.
func (r *Reader) withID(doc bson.Raw) bson.Raw {
	if _, err := doc.LookupErr("_id"); err == nil {
		return doc
	}
	h := sha256.New()
	h.Write(r.print[:])
	place := binary.BigEndian.AppendUint64(nil, r.count)
	h.Write(place)
	h.Write(doc)
	var id ulid.ULID
	copy(id[:6], place[2:])
	copy(id[6:], h.Sum(nil))
	text := id.String()
	out := make([]byte, 4, len(doc)+len(text)+10)
	out = append(out, byte(bson.TypeString), '_', 'i', 'd', 0)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(text)+1))
	out = append(append(append(out, text...), 0), doc[4:]...)
	binary.LittleEndian.PutUint32(out, uint32(len(out)))
	return out
}

// A splitter divides a file into the texts of its documents. It knows lines, strings and
// brackets, and no more of JSON: what a text means is for who parses it. So one that is
// malformed costs its own lines only; inside an array, where nothing else separates, it can
// cost those after it. A document ends with its bracket, on whatever line, or where a line
// begins with a bracket that cannot be a part of it:
//
//	{"a": 1                     malformed: a field is not followed by {
//	{"a": 2} {"a": 3}           two documents
//	{"a": [
//	{"b": 4}]}                  one, as an array may go on like that
type splitter struct {
	r     *bufio.Reader
	line  uint64
	begun bool
	array bool
	first bool // no element has been read
	done  bool
	buf   []byte
	rest  []byte // of the line that the last document ended on
	doc   []byte // of several lines
	n     nesting
}

// next returns the next text and the line on which it begins. The text is valid
// until the next call.
func (s *splitter) next() ([]byte, uint64, error) {
	if s.done {
		return nil, 0, io.EOF
	}
	if !s.begun {
		s.begun = true
		c, err := s.skip()
		if err != nil {
			return nil, 0, err
		}
		if s.array = c == '['; s.array {
			_, _ = s.r.Discard(1) // was peeked
			s.first = true
		}
	}
	if s.array {
		return s.element()
	}
	line := s.rest
	for s.rest = nil; len(line) == 0; s.line++ {
		text, err := s.text()
		if err != nil {
			return nil, 0, err
		}
		line = bytes.TrimSpace(text)
	}
	at := s.line - 1
	if line[0] != '{' {
		return line, at, nil
	}
	text, err := s.document(line)
	return text, at, err
}

// document returns the document that begins with line, which may go on in those after it.
func (s *splitter) document(line []byte) ([]byte, error) {
	at := s.line - 1
	s.doc = s.doc[:0]
	s.n.reset()
	for {
		if end := s.n.end(line); end >= 0 {
			after := bytes.TrimLeft(line[end:], " \t\r\n")
			if len(after) == 0 || after[0] == '{' {
				line, s.rest = line[:end], after
			}
			if len(s.doc) == 0 {
				return line, nil
			}
			s.doc = append(s.doc, line...)
			return s.doc, nil
		}
		if s.doc = append(append(s.doc, line...), '\n'); s.n.quote != 0 {
			return s.doc, nil // it is malformed, and so by itself
		}
		if c, err := s.r.Peek(1); errors.Is(err, io.EOF) || err == nil && c[0] == '{' && !s.n.takes() {
			return s.doc, nil // so is this
		}
		var err error
		if line, err = s.text(); err != nil {
			return nil, err
		}
		s.line++
		if len(s.doc)+len(line) > MaxLine {
			return nil, fault.Of(ErrFormat, "line %d: a document has more than %d bytes", at, MaxLine)
		}
	}
}

// A nesting is the brackets that are open. That each is closed by its own kind is found
// when the text is parsed.
type nesting struct {
	open    []byte
	last    byte // that is no white space, outside of strings
	quote   byte // that ends the string it is in, 0 outside
	escaped bool
}

func (n *nesting) reset() { *n = nesting{open: n.open[:0]} }

// end goes through a text and returns where all brackets are closed, -1 if nowhere.
func (n *nesting) end(text []byte) int {
	for i, c := range text {
		if n.add(c); len(n.open) == 0 {
			return i + 1
		}
	}
	return -1
}

func (n *nesting) add(c byte) {
	switch {
	case n.escaped:
		n.escaped = false
		return
	case n.quote != 0:
		if n.escaped = c == '\\'; c == n.quote {
			n.quote = 0
		}
		return
	case c == ' ', c == '\t', c == '\r', c == '\n':
		return
	case c == '"', c == '\'':
		n.quote = c
	case c == '{', c == '[':
		n.open = append(n.open, c)
	case len(n.open) > 0 && (c == '}' || c == ']'):
		n.open = n.open[:len(n.open)-1]
	}
	n.last = c
}

// takes reports whether an object can follow at the beginning of a line. After a colon it
// could too, but nobody writes it like that, and a line that is cut may end so.
func (n *nesting) takes() bool {
	return n.open[len(n.open)-1] == '[' && (n.last == ',' || n.last == '[')
}

// skip passes over white space and returns the byte after it, which stays.
func (s *splitter) skip() (byte, error) {
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return 0, err
		}
		switch c {
		case '\n':
			s.line++
		case ' ', '\t', '\r':
		default:
			return c, s.r.UnreadByte()
		}
	}
}

// text returns the next line; io.EOF if there is none.
func (s *splitter) text() ([]byte, error) {
	s.buf = s.buf[:0]
	for {
		part, err := s.r.ReadSlice('\n')
		if len(s.buf)+len(part) > MaxLine {
			return nil, fault.Of(ErrFormat, "line %d has more than %d bytes", s.line, MaxLine)
		}
		if err == nil && len(s.buf) == 0 {
			return part, nil
		}
		s.buf = append(s.buf, part...)
		switch {
		case err == nil, errors.Is(err, io.EOF) && len(s.buf) > 0:
			return s.buf, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// element returns the next element of the array. An array is one document of JSON, so it is
// strict between the elements: a comma that is missing or too much is the mark of a file
// that was put together wrongly, or lacks a part.
func (s *splitter) element() ([]byte, uint64, error) {
	c, err := s.skip()
	if err == nil && c == ',' && !s.first {
		_, _ = s.r.Discard(1) // was peeked
		c, err = s.skip()
		if err == nil && c == ']' {
			return nil, 0, fault.Of(ErrFormat, "line %d: the array ends with a comma", s.line)
		}
	} else if err == nil && c != ']' && !s.first {
		return nil, 0, fault.Of(ErrFormat, "line %d: missing comma between two elements of the array", s.line)
	}
	if err != nil {
		return nil, 0, unfinished(err)
	}
	if s.first = false; c == ']' {
		return nil, 0, s.afterArray()
	}
	at := s.line
	text, err := s.value()
	return text, at, unfinished(err)
}

func unfinished(err error) error {
	if errors.Is(err, io.EOF) {
		return fault.Of(ErrCut, "the array is not closed")
	}
	return err
}

// afterArray wants nothing after the array.
func (s *splitter) afterArray() error {
	_, _ = s.r.Discard(1) // was peeked
	s.done = true
	if _, err := s.skip(); err == nil {
		return fault.Of(ErrFormat, "line %d: text after the array", s.line)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return io.EOF
}

// value reads one value of the array, up to the comma or bracket after it.
func (s *splitter) value() ([]byte, error) {
	s.buf = s.buf[:0]
	var n nesting
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return nil, err
		}
		if len(s.buf) >= MaxLine {
			return nil, fault.Of(ErrFormat, "line %d: an element has more than %d bytes", s.line, MaxLine)
		}
		if len(n.open) == 0 && n.quote == 0 && (c == ',' || c == ']') {
			return bytes.TrimSpace(s.buf), s.r.UnreadByte()
		}
		if c == '\n' {
			s.line++
		}
		n.add(c)
		s.buf = append(s.buf, c)
	}
}

// tags follow the lines of an export of a whole database. It counts documents, to compare
// with what the last line says. Two exports in one file, one after the other, are not
// foreseen: the count goes on, so that the second end does not agree.
type tags struct {
	begun, ended bool
	docs         uint64
}

// A tagLine is a line of such an export.
type tagLine struct {
	Weft       string          `json:"weft"`
	Version    int             `json:"version"`
	Database   string          `json:"database"`
	Hash       string          `json:"hash"`
	Documents  uint64          `json:"documents"`
	Collection string          `json:"collection"`
	Definition json.RawMessage `json:"definition"`
	Document   json.RawMessage `json:"document"`
}

// read reads a line; skip says that it holds nothing.
func (t *tags) read(text []byte, line uint64) (it Item, skip bool) {
	var l tagLine
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	it.Line = line
	if err := d.Decode(&l); err != nil {
		it.Err = fault.Of(ErrFormat, "this is no line of an export of a database (to import documents, name a collection): %v", err)
		return it, false
	}
	t.ended = false
	switch {
	case l.Weft == wordBegin && l.Version == exportVersion:
		t.begun = true
		return it, true
	case l.Weft == wordBegin:
		it.Err = fault.Of(ErrFormat, "the export has version %d, this release reads version %d", l.Version, exportVersion)
	case l.Weft == wordEnd && l.Documents == t.docs:
		t.ended = true
		return it, true
	case l.Weft == wordEnd:
		it.Err = fault.Of(ErrCut, "the export had %d documents, the file has %d", l.Documents, t.docs)
		t.ended = true
	case l.Weft != "" || l.Collection == "" || (l.Definition == nil) == (l.Document == nil):
		it.Err = fault.Of(ErrFormat, "want a line of a database export: a collection, and a document or a definition")
	default:
		it.Collection = l.Collection
		if l.Definition != nil {
			it.Definition, it.Err = parse(l.Definition)
		} else {
			t.docs++
			it.Document, it.Err = parse(l.Document)
		}
	}
	return it, false
}

// end returns io.EOF, or ErrCut for an export that lacks its end. A file without the first
// line of an export is not taken for one that is cut short.
func (t *tags) end(tagged bool) error {
	if tagged && t.begun && !t.ended {
		return fault.Of(ErrCut, "the last line of the export is missing: the export is incomplete")
	}
	return io.EOF
}

// parse parses a document of a file.
func parse(text []byte) (bson.Raw, error) {
	v, err := db.ParseTyped(text)
	if fault.Is(err, fault.TooLarge) {
		return nil, err
	}
	if err == nil && v.Type != bson.TypeEmbeddedDocument {
		err = fault.Errorf(fault.FailedToParse, "want an object")
	}
	if err != nil {
		return nil, fault.Of(ErrFormat, "%v", err)
	}
	return v.Value, nil
}
