package payload

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// Decode returns the operations of a payload; they alias b. Any bytes that Encode would not
// give are ErrMalformed. Of an atomic record the different documents are counted, not the
// operations: it is refused whole, so what is judged again for one of them is judged again
// for all.
func Decode(b []byte, atomic bool) ([]Op, []clock.RecordID, error) {
	if len(b) > MaxBytes {
		return nil, nil, fault.Of(ErrMalformed, "malformed transaction: %d bytes", len(b))
	}
	d := decoder{rest: b}
	ops, view, err := d.record()
	if err != nil {
		return nil, nil, fault.Of(ErrMalformed, "malformed transaction: %w at byte %d", err, len(b)-len(d.rest))
	}
	if atomic {
		docs := map[string]struct{}{}
		for i := range ops {
			docs[ops[i].Coll+"\x00"+string(ops[i].Key)] = struct{}{}
		}
		if len(docs) > MaxAtomic {
			return nil, nil, fault.Of(ErrMalformed, "malformed transaction: %d documents in an atomic transaction", len(docs))
		}
	}
	return ops, view, nil
}

// A decoder takes its input from the front of rest; where it fails, what is left says at
// which byte.
type decoder struct{ rest []byte }

// A decodeError is why bytes are malformed, for people: callers see ErrMalformed.
type decodeError string

func (e decodeError) Error() string { return string(e) }

// record reads all of a record. Collections are numbered in the order of their first use,
// and each is used: coll may be at most one beyond those that were.
func (d *decoder) record() ([]Op, []clock.RecordID, error) {
	if d.byte() != version {
		return nil, nil, decodeError("unknown version")
	}
	names, err := d.names()
	if err != nil {
		return nil, nil, err
	}
	n, err := d.count(MaxOps)
	if err != nil || n == 0 {
		return nil, nil, decodeError("bad number of operations")
	}
	// An operation takes at least two bytes, so a lie costs no memory.
	ops := make([]Op, 0, min(n, len(d.rest)/2+1))
	used := 0
	for i := range n {
		var prev *Op
		if i > 0 {
			prev = &ops[i-1]
		}
		o, coll, err := d.op(prev, names)
		if err != nil {
			return nil, nil, err
		}
		if coll > used {
			return nil, nil, decodeError("collections not in order of use")
		}
		if coll == used {
			used++
		}
		ops = append(ops, o)
	}
	if used != len(names) {
		return nil, nil, decodeError("unused collections")
	}
	view, err := d.view(len(ops))
	return ops, view, err
}

// view reads the heads that follow the operation of a definition; nil if nothing does, and
// not nil if no head does.
func (d *decoder) view(ops int) ([]clock.RecordID, error) {
	if len(d.rest) == 0 {
		return nil, nil
	}
	n, err := d.count(MaxView)
	if err != nil || ops != 1 || n > len(d.rest)/65 {
		return nil, decodeError("bad view, or trailing bytes")
	}
	view := make([]clock.RecordID, n)
	for i := range view {
		h := &view[i]
		if len(d.rest) < 65 {
			return nil, decodeError("bad head")
		}
		copy(h.Log[:], d.rest)
		d.rest = d.rest[32:]
		if h.Seq, err = d.seq(); err != nil || len(d.rest) < 32 {
			return nil, decodeError("bad head")
		}
		copy(h.Hash[:], d.rest)
		d.rest = d.rest[32:]
		if i > 0 && CompareHeads(view[i-1], *h) >= 0 {
			return nil, decodeError("heads not in order")
		}
	}
	if len(d.rest) > 0 {
		return nil, decodeError("trailing bytes")
	}
	return view, nil
}

// names reads the collections of a record, each by its length and its bytes.
func (d *decoder) names() ([]string, error) {
	n, err := d.count(MaxOps)
	if err != nil {
		return nil, err
	}
	var names []string
	seen := map[string]bool{}
	for range n {
		l, err := d.count(MaxName)
		if err != nil || l > len(d.rest) {
			return nil, decodeError("bad name")
		}
		name := string(d.rest[:l])
		d.rest = d.rest[l:]
		if CheckName(name) != nil || !utf8.ValidString(name) || seen[name] {
			return nil, decodeError("bad name")
		}
		seen[name] = true
		names = append(names, name)
	}
	return names, nil
}

// op reads one operation after prev, nil at first, and the place of its collection.
func (d *decoder) op(prev *Op, names []string) (o Op, coll int, err error) {
	kind := d.byte()
	same := kind&flagSame != 0
	o.Upsert = kind&flagUpsert != 0
	o.Kind = Kind(kind &^ (flagSame | flagUpsert))
	if o.Kind < Insert || o.Kind > Delete || o.Upsert && o.Kind != Update && o.Kind != Replace {
		return o, 0, decodeError("bad kind")
	}
	if coll, err = d.count(max(0, len(names)-1)); err != nil || coll >= len(names) {
		return o, 0, decodeError("bad collection")
	}
	o.Coll = names[coll]
	if o.Kind == Insert {
		if same {
			return o, 0, decodeError("bad flag")
		}
		if o.Doc, err = d.doc(); err != nil {
			return o, 0, err
		}
		o.ID = DocID(o.Doc)
	} else {
		if err = d.target(&o); err != nil {
			return o, 0, err
		}
		if err = d.body(&o, prev, same); err != nil {
			return o, 0, err
		}
	}
	if o.Key, err = CheckID(o.ID); err != nil {
		return o, 0, err
	}
	return o, coll, nil
}

// target reads an _id: its type and value, validated as a document's field. The bound
// leaves room for the lengths around a text; CheckID judges the key itself.
func (d *decoder) target(o *Op) error {
	t := bson.Type(d.byte())
	// Wrapping the rest as a document lets the one validator judge the value.
	n := valueSize(t, d.rest)
	if n < 0 || n > MaxID+16 || n > len(d.rest) {
		return decodeError("bad _id")
	}
	o.ID = value.Value{Type: t, Data: d.rest[:n:n]}
	doc, at := value.Begin(nil)
	doc = value.End(value.AppendElement(doc, []byte("_id"), o.ID), at)
	if err := value.Validate(doc); err != nil {
		return err
	}
	d.rest = d.rest[n:]
	return nil
}

// valueSize returns the bytes of an _id of type t at the start of b, or -1.
func valueSize(t bson.Type, b []byte) int {
	switch t {
	case bson.TypeNull:
		return 0
	case bson.TypeBoolean:
		return 1
	case bson.TypeInt32:
		return 4
	case bson.TypeDouble, bson.TypeDateTime, bson.TypeInt64, bson.TypeTimestamp:
		return 8
	case bson.TypeObjectID:
		return 12
	case bson.TypeDecimal128:
		return 16
	case bson.TypeString, bson.TypeBinary, bson.TypeEmbeddedDocument:
		if len(b) < 4 {
			return -1
		}
		n := int(int32(binary.LittleEndian.Uint32(b)))
		if n < 0 {
			return -1
		}
		switch t {
		case bson.TypeBinary:
			return n + 5
		case bson.TypeEmbeddedDocument:
			return n
		}
		return n + 4
	}
	return -1
}

// body reads what an operation does to its document, or takes that of prev. To write a body
// again where flagSame would do is malformed, for a record has one form only.
func (d *decoder) body(o, prev *Op, same bool) (err error) {
	if same {
		if prev == nil || prev.Kind != o.Kind || prev.Upsert != o.Upsert {
			return decodeError("bad flag")
		}
		o.Filter, o.Doc, o.ArrayFilters = prev.Filter, prev.Doc, prev.ArrayFilters
		return nil
	}
	if o.Filter, err = d.doc(); err != nil {
		return err
	}
	if o.Kind != Delete {
		if o.Doc, err = d.doc(); err != nil {
			return err
		}
	}
	if o.Kind == Update {
		n, err := d.count(maxFilters)
		if err != nil {
			return err
		}
		for range n {
			f, err := d.doc()
			if err != nil {
				return err
			}
			o.ArrayFilters = append(o.ArrayFilters, f)
		}
	}
	if prev != nil && o.sameBody(prev) {
		return decodeError("repeated body")
	}
	return nil
}

// doc reads one document and validates it: what other devices send is not trusted.
func (d *decoder) doc() ([]byte, error) {
	if len(d.rest) < 5 {
		return nil, decodeError("short document")
	}
	n := binary.LittleEndian.Uint32(d.rest)
	if n < 5 || n > value.MaxDocument || int(n) > len(d.rest) {
		return nil, decodeError("bad document length")
	}
	doc := d.rest[:n:n]
	if err := value.Validate(doc); err != nil {
		return nil, err
	}
	d.rest = d.rest[n:]
	return doc, nil
}

// byte reads a byte. At the end it is 0, which is no version, no kind and no type of an
// _id, so that whoever reads it fails.
func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		return 0
	}
	c := d.rest[0]
	d.rest = d.rest[1:]
	return c
}

// count reads a shortest-form uvarint of at most limit.
func (d *decoder) count(limit int) (int, error) {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 || n > uint64(limit) || !bytes.Equal(binary.AppendUvarint(nil, n), d.rest[:size]) {
		return 0, decodeError("bad count")
	}
	d.rest = d.rest[size:]
	return int(n), nil
}

// seq reads a position, from 1.
func (d *decoder) seq() (uint64, error) {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 || n == 0 || !bytes.Equal(binary.AppendUvarint(nil, n), d.rest[:size]) {
		return 0, decodeError("bad position")
	}
	d.rest = d.rest[size:]
	return n, nil
}
