package net

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
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
	keyBlob    = 'b' // ‖ blob ID → number, size, and the bytes if they are few
	keyBlobSeq = 'B' // ‖ number u64be → blob ID, size
)

const (
	noLog        = 1<<32 - 1
	arrivalChunk = 512
	arrivalSize  = 4 + 8 + 32
)

func (t *Thread) key(kind byte) []byte {
	b := make([]byte, 0, 40)
	b = binary.BigEndian.AppendUint32(append(b, keyThread...), t.num)
	return append(b, kind)
}

func (t *Thread) recordKey(log uint32, seq uint64, hash clock.Hash) []byte {
	return append(t.seqKey(log, seq), hash[:16]...)
}

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

// A storedRecord is a record as it is kept:
//
//	1 ‖ head signature bytes64, or 0 if the position is not signed
//	‖ header length u16be ‖ header ‖ body
type storedRecord struct {
	rawRecord
	Signed    bool
	Signature keys.Signature
}

func (s *storedRecord) encode() []byte {
	b := make([]byte, 0, 1+64+2+s.size())
	if s.Signed {
		b = append(append(b, 1), s.Signature[:]...)
	} else {
		b = append(b, 0)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.Header)))
	return append(append(b, s.Header...), s.Body...)
}

func decodeStored(v []byte) (storedRecord, error) {
	var s storedRecord
	bad := fmt.Errorf("net: stored record: %w", ErrMalformed)
	if len(v) > 65 && v[0] == 1 {
		s.Signed, s.Signature, v = true, keys.Signature(v[1:65]), v[65:]
	} else if len(v) > 1 && v[0] == 0 {
		v = v[1:]
	} else {
		return s, bad
	}
	if len(v) < 2 {
		return s, bad
	}
	n := int(binary.BigEndian.Uint16(v))
	if v = v[2:]; len(v) < n {
		return s, bad
	}
	s.Header, s.Body = v[:n:n], v[n:]
	return s, nil
}

// A branch is one line of a log: the only one, unless the log's device forked it.
type branch struct {
	num    uint32
	base   clock.RecordID // the record it leaves another branch after; none if Seq is 0
	tip    clock.RecordID
	time   clock.Time     // of the tip
	signed clock.RecordID // last position with a signature
	done   clock.RecordID // judged up to: arrived, refused, or folded; the rest waits

	records, bytes int64

	// In memory only: what is durable (and folded, on a member) up to a signed
	// position, and up to any.
	sent, flushed clock.RecordID
	pending       int // arrivals that are not flushed
}

// branchRow is a branch as it is kept.
type branchRow struct {
	_              struct{} `cbor:",toarray"`
	BaseSeq        uint64
	Base           clock.Hash
	TipSeq         uint64
	Tip            clock.Hash
	Time           clock.Time
	SignedSeq      uint64
	Signed         clock.Hash
	DoneSeq        uint64
	Done           clock.Hash
	Records, Bytes int64
}

func (b *branch) encode() []byte {
	return encode(&branchRow{
		BaseSeq: b.base.Seq, Base: b.base.Hash, TipSeq: b.tip.Seq, Tip: b.tip.Hash, Time: b.time,
		SignedSeq: b.signed.Seq, Signed: b.signed.Hash, DoneSeq: b.done.Seq, Done: b.done.Hash,
		Records: b.records, Bytes: b.bytes,
	})
}

func decodeBranch(log clock.LogID, num uint32, p []byte) (*branch, error) {
	var w branchRow
	if err := decode(p, "stored branch", &w); err != nil {
		return nil, err
	}
	id := func(seq uint64, hash clock.Hash) clock.RecordID {
		if seq == 0 {
			return clock.RecordID{Hash: hash}
		}
		return clock.RecordID{Log: log, Seq: seq, Hash: hash}
	}
	return &branch{
		num: num, base: id(w.BaseSeq, w.Base), tip: id(w.TipSeq, w.Tip), time: w.Time,
		signed: id(w.SignedSeq, w.Signed), done: id(w.DoneSeq, w.Done), records: w.Records, bytes: w.Bytes,
	}, nil
}

// An arrivalRef says which record has an arrival number.
type arrivalRef struct {
	n      int64
	id     clock.RecordID
	branch *branch // nil where it does not matter
	log    uint32
	signed bool

	snapshot bool // the log is a snapshot log
}

func appendRef(b []byte, a *arrivalRef) []byte {
	b = binary.BigEndian.AppendUint32(b, a.log)
	b = binary.BigEndian.AppendUint64(b, a.id.Seq)
	return append(b, a.id.Hash[:]...)
}

// putArrivals writes references to consecutive arrivals.
func (t *Thread) putArrivals(tx store.Tx, refs []arrivalRef) error {
	for len(refs) > 0 {
		n := min(len(refs), arrivalChunk)
		v := make([]byte, 0, n*arrivalSize)
		for i := range refs[:n] {
			v = appendRef(v, &refs[i])
		}
		if err := tx.Put(t.arrivalKey(refs[0].n), v); err != nil {
			return fmt.Errorf("net: arrivals: %w", err)
		}
		refs = refs[n:]
	}
	return nil
}

// eachArrival calls f for the arrivals after n in order, until it returns false.
func (t *Thread) eachArrival(r store.Reader, n int64, f func(arrivalRef) (bool, error)) error {
	from, err := t.chunkOf(r, n+1)
	if err != nil {
		return err
	}
	it := r.Iterate(store.Range{Lower: t.arrivalKey(from), Upper: store.PrefixEnd(t.key(keyArrival))})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		k := it.Key()
		first := int64(binary.BigEndian.Uint64(k[len(k)-8:]))
		v, err := it.Value()
		if err != nil {
			return fmt.Errorf("net: arrivals: %w", err)
		}
		for i := 0; i+arrivalSize <= len(v); i += arrivalSize {
			a := arrivalRef{n: first + int64(i/arrivalSize), log: binary.BigEndian.Uint32(v[i:])}
			if a.n <= n {
				continue
			}
			a.id.Seq, a.id.Hash = binary.BigEndian.Uint64(v[i+4:]), clock.Hash(v[i+12:i+arrivalSize])
			if more, err := f(a); err != nil || !more {
				return err
			}
		}
	}
	return it.Err()
}

// chunkOf returns the first number of the chunk that holds arrival n, or n.
func (t *Thread) chunkOf(r store.Reader, n int64) (int64, error) {
	it := r.Iterate(store.Range{Lower: t.arrivalKey(0), Upper: t.arrivalKey(n + 1), Reverse: true, KeysOnly: true})
	defer it.Close()
	if !it.Valid() {
		return n, it.Err()
	}
	k := it.Key()
	return int64(binary.BigEndian.Uint64(k[len(k)-8:])), nil
}

// lastArrivalIn returns the number of the last arrival, 0 if there is none.
func (t *Thread) lastArrivalIn(r store.Reader) (int64, error) {
	rng := store.Prefix(t.key(keyArrival))
	rng.Reverse = true
	it := r.Iterate(rng)
	defer it.Close()
	if !it.Valid() {
		return 0, it.Err()
	}
	k := it.Key()
	v, err := it.Value()
	if err != nil {
		return 0, fmt.Errorf("net: arrivals: %w", err)
	}
	return int64(binary.BigEndian.Uint64(k[len(k)-8:])) + int64(len(v)/arrivalSize) - 1, nil
}

// readRecord returns the record that was stored as id; it aliases the store's view.
func (t *Thread) readRecord(r store.Reader, log uint32, id clock.RecordID) (storedRecord, error) {
	v, err := r.Get(t.recordKey(log, id.Seq, id.Hash))
	if errors.Is(err, store.ErrNotFound) {
		return storedRecord{}, fmt.Errorf("%w: record %s", ErrNotFound, id)
	}
	if err != nil {
		return storedRecord{}, fmt.Errorf("net: record %s: %w", id, err)
	}
	s, err := decodeStored(v)
	if err == nil && recordHash(t.id, s.Header) != id.Hash {
		err = fmt.Errorf("%w: record %s", ErrNotFound, id)
	}
	return s, err
}

// walk calls f for the records after `after` up to tip, in order, on the branch
// that ends in tip, until f returns false. A log that is not forked is one range
// of keys; headers are left to who needs them.
func (t *Thread) walk(r store.Reader, log *threadLog, forked bool, tip clock.RecordID, after uint64, f func(clock.RecordID, storedRecord) (bool, error)) error {
	if forked {
		return t.walkPath(r, log.num, tip, after, f)
	}
	it := r.Iterate(store.Range{Lower: t.seqKey(log.num, after+1), Upper: t.seqKey(log.num, tip.Seq+1)})
	defer it.Close()
	next := after + 1
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return fmt.Errorf("net: log %s: %w", log.id.Short(), err)
		}
		s, err := decodeStored(v)
		if err != nil {
			return err
		}
		id := clock.RecordID{Log: log.id, Seq: next, Hash: recordHash(t.id, s.Header)}
		if !bytes.Equal(it.Key(), t.recordKey(log.num, id.Seq, id.Hash)) {
			return fmt.Errorf("%w: record %d of log %s", ErrNotFound, next, log.id.Short())
		}
		next++
		if more, err := f(id, s); err != nil || !more {
			return err
		}
	}
	return it.Err()
}

// walkPath is walk for a forked log: it follows the previous hashes back first.
func (t *Thread) walkPath(r store.Reader, log uint32, tip clock.RecordID, after uint64, f func(clock.RecordID, storedRecord) (bool, error)) error {
	var path []clock.RecordID
	for id := tip; id.Seq > after; {
		s, err := t.readRecord(r, log, id)
		if err != nil {
			return err
		}
		h, err := decodeHeader(s.Header)
		if err != nil {
			return fmt.Errorf("net: stored record: %w", err)
		}
		path = append(path, id)
		id = clock.RecordID{Log: id.Log, Seq: id.Seq - 1, Hash: h.Prev}
	}
	for i := len(path) - 1; i >= 0; i-- {
		s, err := t.readRecord(r, log, path[i])
		if err != nil {
			return err
		}
		if more, err := f(path[i], s); err != nil || !more {
			return err
		}
	}
	return nil
}
