package payload

import (
	"encoding/binary"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

const snapshotVersion = byte(2)

// StateSize returns an upper bound of the bytes that a document adds to a
// snapshot's record.
func StateSize(coll string, doc []byte) int { return 24 + len(coll) + len(doc) }

// EncodeSnapshot returns the payload of operations of kind State, of which
// Coll, Doc and Mod count. The caller keeps to the limits.
//
//	version   byte
//	names     as in Encode
//	docs      uvarint, then of each the place of its collection as a uvarint,
//	          Mod as 8 bytes big-endian, and the document
func EncodeSnapshot(ops []Op) []byte {
	var names []string
	index := map[string]uint64{}
	for i := range ops {
		if _, ok := index[ops[i].Coll]; !ok {
			index[ops[i].Coll] = uint64(len(names))
			names = append(names, ops[i].Coll)
		}
	}
	dst := binary.AppendUvarint([]byte{snapshotVersion}, uint64(len(names)))
	for _, n := range names {
		dst = binary.AppendUvarint(dst, uint64(len(n)))
		dst = append(dst, n...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(ops)))
	for i := range ops {
		dst = binary.AppendUvarint(dst, index[ops[i].Coll])
		dst = binary.BigEndian.AppendUint64(dst, ops[i].Mod)
		dst = append(dst, ops[i].Doc...)
	}
	return dst
}

// DecodeSnapshot is the inverse of EncodeSnapshot; the operations alias b. Any other bytes
// are ErrMalformed. A document cannot hold _mod: that field is made of Mod for whoever
// reads it, and is stored nowhere.
func DecodeSnapshot(b []byte) ([]Op, error) {
	if len(b) > MaxBytes {
		return nil, fault.Of(ErrMalformed, "malformed transaction: %d bytes", len(b))
	}
	d := decoder{rest: b}
	ops, err := d.snapshot()
	if err != nil {
		return nil, fault.Of(ErrMalformed, "malformed transaction: %w at byte %d", err, len(b)-len(d.rest))
	}
	return ops, nil
}

func (d *decoder) snapshot() ([]Op, error) {
	if d.byte() != snapshotVersion {
		return nil, decodeError("unknown version")
	}
	names, err := d.names()
	if err != nil {
		return nil, err
	}
	n, err := d.count(MaxOps)
	if err != nil {
		return nil, decodeError("bad number of documents")
	}
	ops := make([]Op, 0, min(n, len(d.rest)/14+1))
	used := 0
	for range n {
		coll, err := d.count(max(0, len(names)-1))
		if err != nil || coll >= len(names) || coll > used || len(d.rest) < 8 {
			return nil, decodeError("bad collection")
		}
		used = max(used, coll+1)
		o := Op{Kind: State, Coll: names[coll], Mod: binary.BigEndian.Uint64(d.rest)}
		d.rest = d.rest[8:]
		if o.Doc, err = d.doc(); err != nil {
			return nil, err
		}
		o.ID = DocID(o.Doc)
		if o.Key, err = CheckID(o.ID); err != nil {
			return nil, err
		}
		if value.Get(o.Doc, "_mod").Exists() {
			return nil, decodeError("a document with _mod")
		}
		ops = append(ops, o)
	}
	if used != len(names) || len(d.rest) != 0 {
		return nil, decodeError("unused collections or trailing bytes")
	}
	return ops, nil
}
