package keyspace

import (
	"encoding/binary"

	"lukechampine.com/blake3"

	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/internal/clock"
)

// DocSeed hashes one document, or a tombstone if doc is nil; buf is scratch.
func DocSeed(buf []byte, coll string, idKey, doc []byte) lthash.Seed {
	kind := byte(1)
	if doc == nil {
		kind = 2
	}
	buf = append(buf[:0], kind)
	buf = binary.AppendUvarint(buf, uint64(len(coll)))
	buf = append(buf, coll...)
	buf = binary.AppendUvarint(buf, uint64(len(idKey)))
	buf = append(buf, idKey...)
	return blake3.Sum256(append(buf, doc...))
}

// RefusedSeed hashes one refused operation.
func RefusedSeed(s clock.Stamp, c Code) lthash.Seed {
	buf := binary.BigEndian.AppendUint64([]byte{3}, uint64(s.Time))
	buf = append(append(buf, s.Log[:]...), s.Hash[:]...)
	buf = binary.BigEndian.AppendUint32(buf, s.Index)
	return blake3.Sum256(append(buf, byte(c)))
}
