package badgerkv

import (
	"encoding/binary"
	"hash/crc32"
)

// Badger looks at the checksum of a table when it opens it, and never again; what an open
// table has on disk may become other bytes. So a stored value ends with a checksum of its
// key and of itself, which every read compares:
//
//	value ‖ u32be CRC-32C(key ‖ value)
const sumSize = crc32.Size

func sumOf(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

// withSum appends to buf what is stored for a value under key.
func withSum(buf, key, value []byte) []byte {
	return binary.BigEndian.AppendUint32(append(buf, value...), sumOf(key, value))
}

// withoutSum returns the value of what is stored under key, false if the bytes are others
// than those that were written.
func withoutSum(key, stored []byte) (value []byte, ok bool) {
	n := len(stored) - sumSize
	if n < 0 || sumOf(key, stored[:n]) != binary.BigEndian.Uint32(stored[n:]) {
		return nil, false
	}
	return stored[:n], true
}
