package keyspace

import "encoding/binary"

// How much memory for keys is taken at a time: at first little, for most batches are small.
const (
	firstKeyChunk = 512
	keyChunk      = 32 << 10
)

// A KeyRoom is memory that the keys of one transaction share, which keeps them to its end.
type KeyRoom struct{ room []byte }

// Entry builds the key of an index's entry.
func (r *KeyRoom) Entry(space Space, tag byte, index uint32, k, idKey []byte) []byte {
	if n := len(space) + 6 + len(k) + len(idKey); cap(r.room)-len(r.room) < n {
		r.room = make([]byte, 0, max(n, min(max(firstKeyChunk, 4*cap(r.room)), keyChunk)))
	}
	at := len(r.room)
	r.room = append(append(r.room, space...), tag)
	r.room = binary.AppendUvarint(r.room, uint64(index))
	r.room = append(append(r.room, k...), idKey...)
	return r.room[at:len(r.room):len(r.room)]
}
