// Package payload is the binary form of a transaction: the operations of one
// record, as replicas exchange them.
//
//	Record ── Op    Encode, Decode
//
// The form is canonical: Decode refuses bytes that Encode would not write. The
// format is in docs/design/db.md.
package payload

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// The limits of a record. They are constants of the protocol.
const (
	MaxOps     = 4096
	MaxAtomic  = 256        // documents of an atomic record
	MaxBytes   = 960 << 10  // 1 MiB less what the record's seal and heads may take
	MaxName    = 120        // bytes of a collection's name
	MaxID      = 512        // bytes of an _id's order-preserving key
	maxFilters = 64         // array filters of an operation
	version    = byte(1)    // of the format
	flagUpsert = byte(0x10) // on the kind
	flagSame   = byte(0x20) // the body is that of the previous operation
	MaxView    = 2000       // heads in the view of a definition or horizon
)

// The largest document fits in a record with its collection, its _id and a small filter.
const _ = uint(MaxBytes - value.MaxDocument - 4<<10)

// ErrMalformed reports bytes that are not a record's payload.
var ErrMalformed = fault.New(fault.Malformed, "malformed transaction")

// A Kind is what an operation does.
type Kind byte

// The kinds of operations.
const (
	Insert Kind = 1 + iota
	Update
	Replace
	Delete
	State // of a snapshot only: the document is Doc, whatever was before
)

var kindNames = [...]string{"", "insert", "update", "replace", "delete", "state"}

// String returns the kind's name, as "insert".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// An Op is one write on one document.
type Op struct {
	Kind         Kind
	Upsert       bool // of Update and Replace
	Coll         string
	ID           value.Value
	Key          []byte   // the order-preserving key of ID; not encoded
	Filter       []byte   // of all kinds but Insert
	Doc          []byte   // the document, update or replacement; nil for Delete
	ArrayFilters [][]byte // of Update
	Mod          uint64   // of State: the time of the document's last change
}

// sameBody reports whether o and p have the same kind and body, an Insert never. An update
// of many documents is many operations with one body, which is written once.
func (o *Op) sameBody(p *Op) bool {
	if o.Kind != p.Kind || o.Kind == Insert || o.Upsert != p.Upsert || len(o.ArrayFilters) != len(p.ArrayFilters) {
		return false
	}
	for i := range o.ArrayFilters {
		if !bytes.Equal(o.ArrayFilters[i], p.ArrayFilters[i]) {
			return false
		}
	}
	return bytes.Equal(o.Doc, p.Doc) && bytes.Equal(o.Filter, p.Filter)
}

// Size returns an upper bound of the bytes that o adds to a payload. 24 is for the kind,
// the place of the collection, the type of the _id and counts.
func (o *Op) Size() int {
	n := 24 + len(o.Coll) + len(o.ID.Data) + len(o.Filter) + len(o.Doc)
	for _, f := range o.ArrayFilters {
		n += len(f) + 3
	}
	return n
}

// Encode returns the payload of ops. The caller keeps to the limits.
//
//	version   byte
//	names     uvarint, then of each collection its length as a uvarint and its name, in order of first use
//	ops       uvarint, then each as appendOp writes it
//
// There is one way to write a record: who decodes it and encodes it again has the bytes
// that were signed. The size is found first, so that the result is one allocation.
func Encode(ops []Op) []byte {
	size := 16
	var names []string
	index := map[string]uint64{}
	for i := range ops {
		o := &ops[i]
		if i == 0 || !o.sameBody(&ops[i-1]) {
			size += o.Size()
		} else {
			size += 24 + len(o.ID.Data)
		}
		if i > 0 && o.Coll == ops[i-1].Coll {
			continue
		}
		if _, ok := index[o.Coll]; !ok {
			index[o.Coll] = uint64(len(names))
			names = append(names, o.Coll)
		}
	}
	dst := append(make([]byte, 0, size), version)
	dst = binary.AppendUvarint(dst, uint64(len(names)))
	for _, n := range names {
		dst = binary.AppendUvarint(dst, uint64(len(n)))
		dst = append(dst, n...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(ops)))
	for i := range ops {
		var prev *Op
		if i > 0 {
			prev = &ops[i-1]
		}
		dst = appendOp(dst, &ops[i], prev, index[ops[i].Coll])
	}
	return dst
}

// EncodeView is Encode of one operation that defines something, with what its author had:
// the heads of logs in the order of log, sequence and hash, each once. It follows the
// operations; a record without a view ends there.
//
//	view      uvarint, then of each head: log [32]byte, sequence uvarint from 1, hash [32]byte
func EncodeView(op *Op, view []clock.RecordID) []byte {
	return appendView(Encode([]Op{*op}), view)
}

func appendView(dst []byte, view []clock.RecordID) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(view)))
	for _, h := range view {
		dst = append(dst, h.Log[:]...)
		dst = binary.AppendUvarint(dst, h.Seq)
		dst = append(dst, h.Hash[:]...)
	}
	return dst
}

// CompareHeads orders heads by log, sequence and hash.
func CompareHeads(a, b clock.RecordID) int {
	return cmp.Or(bytes.Compare(a.Log[:], b.Log[:]), cmp.Compare(a.Seq, b.Seq), bytes.Compare(a.Hash[:], b.Hash[:]))
}

// appendOp appends one operation. What is marked with * is left out with flagSame, for it
// is that of prev:
//
//	kind      byte          1 to 4, with flagUpsert and flagSame
//	coll      uvarint       place among the names
//	doc       document      of an Insert, which ends here: it holds its _id
//	id        type, value
//	filter *  document
//	doc *     document      not of a Delete
//	more *    uvarint, then documents: the array filters of an Update
func appendOp(dst []byte, o, prev *Op, coll uint64) []byte {
	same := prev != nil && o.sameBody(prev)
	kind := byte(o.Kind)
	if o.Upsert {
		kind |= flagUpsert
	}
	if same {
		kind |= flagSame
	}
	dst = append(dst, kind)
	dst = binary.AppendUvarint(dst, coll)
	if o.Kind == Insert {
		return append(dst, o.Doc...)
	}
	dst = append(dst, byte(o.ID.Type))
	dst = append(dst, o.ID.Data...)
	if same {
		return dst
	}
	dst = append(dst, o.Filter...)
	if o.Kind == Delete {
		return dst
	}
	dst = append(dst, o.Doc...)
	if o.Kind == Update {
		dst = binary.AppendUvarint(dst, uint64(len(o.ArrayFilters)))
		for _, f := range o.ArrayFilters {
			dst = append(dst, f...)
		}
	}
	return dst
}

// CheckID returns the order-preserving key of an _id, or an error if a value of its type or
// size cannot be one. An _id is a part of the keys of the store, so it is bounded. As in
// MongoDB it may be a document, whose fields have no operators' names, and null; it is no
// array, pattern or undefined.
func CheckID(id value.Value) ([]byte, error) {
	switch id.Type {
	case bson.TypeDouble, bson.TypeString, bson.TypeBinary, bson.TypeObjectID, bson.TypeBoolean, bson.TypeDateTime,
		bson.TypeNull, bson.TypeInt32, bson.TypeInt64, bson.TypeTimestamp, bson.TypeDecimal128:
	case bson.TypeEmbeddedDocument:
		it := value.Elements(id.Data)
		for k, _, ok := it.Next(); ok; k, _, ok = it.Next() {
			if len(k) > 0 && k[0] == '$' {
				return nil, fault.Errorf(fault.InvalidIDField, "the _id has a field %q: names in it cannot begin with $", k)
			}
		}
	default:
		return nil, fault.Errorf(fault.InvalidIDField, "the _id cannot be of type %s", id.Type)
	}
	if len(id.Data) > MaxID {
		return nil, fault.Errorf(fault.InvalidIDField, "the _id is longer than %d bytes", MaxID)
	}
	key := value.AppendKey(make([]byte, 0, len(id.Data)+8), id, false)
	if len(key) > MaxID {
		return nil, fault.Errorf(fault.InvalidIDField, "the _id's key is longer than %d bytes", MaxID)
	}
	return key, nil
}

// DocID returns the _id of an encoded document, which must be its first
// element; the zero Value otherwise.
func DocID(doc []byte) value.Value {
	it := value.Elements(doc)
	k, v, ok := it.Next()
	if !ok || string(k) != "_id" {
		return value.Value{}
	}
	return v
}

// CheckName returns an error if name cannot name a collection. That it is UTF-8 the decoder
// checks: the strings of BSON, in which callers give it, are.
func CheckName(name string) error {
	if name == "" || len(name) > MaxName {
		return fault.Errorf(fault.InvalidNamespace, "a collection's name has 1 to %d bytes", MaxName)
	}
	for i := range len(name) {
		if c := name[i]; c < 0x21 || c == '$' || c == 0x7f {
			return fault.Errorf(fault.InvalidNamespace, "a collection's name has no spaces, control characters or $: %q", name)
		}
	}
	return nil
}
