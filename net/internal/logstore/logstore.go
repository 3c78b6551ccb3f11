// Package logstore is the logs of a thread as they lie in a store: the keys, the rows
// and how records are found by them.
//
//	Threads, Find, Found        which threads there are; their numbers      threads
//	Genesis, Secrets, Own       what a thread is opened with                founding
//	Log, Branch                 whose log it is; how far each line of it is log
//	Record, Walk, WalkPath      records, by their place, in order           record
//	ArrivalRef, EachArrival     the numbers that records have here          arrival
//	Refusal                     what is kept without effect                 refusal
//	Check                       whether all of it is as it was written      check
//
// A [Table] is what one thread has of a store. It is a number and holds nothing: who
// calls it brings the view to read or the transaction to write, commits, and keeps what
// follows from it in memory. So what is said of a row here is true of any view, also of
// a copy that no thread was opened of.
//
//	nt ‖ 7 ‖ r ‖ 3 ‖ 1 ‖ a4…   first record of log 3 of thread 7
//	nt ‖ 7 ‖ r ‖ 3 ‖ 2 ‖ 5c…   second
//	nt ‖ 7 ‖ r ‖ 3 ‖ 2 ‖ 91…   another second: the log forks here, and a range of keys
//	                           is no line any more; previous hashes tell the two apart
//
// What the store keeps of every home is fixed by testdata/vectors/rows.json. The keys:
// docs/design/net.md. The package builds for a browser.
package logstore

import (
	"encoding/binary"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/format"
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
	keyArrival = 'a' // ‖ number of the first u64be → up to ArrivalChunk references
	keyRefused = 'x' // ‖ log number ‖ seq ‖ hash16 → code and reason
	keyBlob    = 'b' // ‖ blob ID → a row of package blobs
	keyBlobSeq = 'B' // ‖ number u64be → a reference of it
	keyLack    = 'm' // ‖ blob ID → a row of package blobs: it was held, and is not
	keySince   = 'c' // ‖ hash of a checkpoint → Unix seconds u64be: it has been in force here since
	keyFresh   = 'f' // → a row of package blobs: which came from peers lately
)

// rows encodes what the store keeps of a thread besides records.
var rows = canonical.New(canonical.Options{
	Elements: 64, Nesting: 8, Malformed: format.ErrMalformed, TooLarge: format.ErrTooLarge,
})

// A Table is the rows of one thread, whose keys begin with its number in the store.
type Table struct {
	thread format.ThreadID
	num    uint32
}

// Prefix begins every key of the thread.
func (t Table) Prefix() []byte {
	own := t.key(0)
	return own[:len(own)-1]
}

// BlobKeys returns what the keys begin with under which package blobs has its rows, its
// references and what it lacks, and the key of those that came lately.
func (t Table) BlobKeys() (rows, refs, lacks, fresh []byte) {
	return t.key(keyBlob), t.key(keyBlobSeq), t.key(keyLack), t.key(keyFresh)
}

// key begins the keys of one kind. Its capacity holds the longest key, so that callers
// append without another allocation.
func (t Table) key(kind byte) []byte {
	b := make([]byte, 0, 40)
	b = binary.BigEndian.AppendUint32(append(b, keyThread...), t.num)
	return append(b, kind)
}

// recordKey has half of the hash: two records of a forked log at one position have
// different keys, and Record compares the rest.
func (t Table) recordKey(log uint32, seq uint64, hash clock.Hash) []byte {
	return append(t.seqKey(log, seq), hash[:16]...)
}

// seqKey is where the records of a log from a position on begin.
func (t Table) seqKey(log uint32, seq uint64) []byte {
	b := binary.BigEndian.AppendUint32(t.key(keyRecord), log)
	return binary.BigEndian.AppendUint64(b, seq)
}

// SeqOf returns the position in the key of a record or of a refusal.
func SeqOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-24:]) }

func (t Table) logKey(log uint32) []byte {
	return binary.BigEndian.AppendUint32(t.key(keyLog), log)
}

func (t Table) branchKey(log, branch uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(t.key(keyBranch), log), branch)
}

func (t Table) arrivalKey(n int64) []byte {
	return binary.BigEndian.AppendUint64(t.key(keyArrival), uint64(n))
}
