package thread

import (
	"encoding/binary"

	"github.com/weftdb/weft/internal/clock"
)

// Keys in the store: docs/design/net.md. Threads and logs have small local
// numbers, so that keys stay short.
const (
	keyThreads = "nT" // ‖ thread ID → thread number
	keyThread  = "nt" // ‖ thread number u32be ‖ one of:

	keyGenesis = 'g' // → signed genesis
	keySecrets = 'k' // → keys, role and pending invite, sealed to the device
	keyOwn     = 'o' // → numbers of the own control and data log
	keyLog     = 'l' // ‖ log number u32be → descriptor
	keyBranch  = 'h' // ‖ log number ‖ branch number u32be → branch
	keyRecord  = 'r' // ‖ log number ‖ seq u64be ‖ hash16 → record
	keyArrival = 'a' // ‖ number of the first u64be → up to arrivalChunk references
	keyRefused = 'x' // ‖ log number ‖ seq ‖ hash16 → code and reason
	keyBlob    = 'b' // ‖ blob ID → a row of package blobs
	keyBlobSeq = 'B' // ‖ number u64be → a reference of it
	keyLack    = 'm' // ‖ blob ID → a row of package blobs: it was held, and is not
)

const (
	noLog        = 1<<32 - 1
	arrivalChunk = 512
	arrivalSize  = 4 + 8 + 32
)

// key begins the keys of one kind. Its capacity holds the longest key, so that callers
// append without another allocation.
func (t *Thread) key(kind byte) []byte {
	b := make([]byte, 0, 40)
	b = binary.BigEndian.AppendUint32(append(b, keyThread...), t.num)
	return append(b, kind)
}

// recordKey has half of the hash: two records of a forked log at one position have
// different keys, and readRecord compares the rest.
func (t *Thread) recordKey(log uint32, seq uint64, hash clock.Hash) []byte {
	return append(t.seqKey(log, seq), hash[:16]...)
}

// seqKey is where the records of a log from a position on begin.
func (t *Thread) seqKey(log uint32, seq uint64) []byte {
	b := binary.BigEndian.AppendUint32(t.key(keyRecord), log)
	return binary.BigEndian.AppendUint64(b, seq)
}

func (t *Thread) branchKey(log, branch uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(t.key(keyBranch), log), branch)
}

func (t *Thread) arrivalKey(n int64) []byte {
	return binary.BigEndian.AppendUint64(t.key(keyArrival), uint64(n))
}
