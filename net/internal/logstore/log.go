package logstore

import (
	"encoding/binary"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// A Log is whose log it is, and its number in the keys of its rows.
type Log struct {
	Num  uint32
	ID   clock.LogID
	Desc format.Descriptor
	Raw  []byte // the descriptor's bytes, which the ID is the hash of
}

// A Branch is one line of a log, as it is kept: the only one, unless the log's device
// forked it.
type Branch struct {
	Num    uint32
	Base   clock.RecordID // the record it leaves another branch after; none if Seq is 0
	Tip    clock.RecordID
	Time   clock.Time     // of the tip
	Signed clock.RecordID // last position with a signature
	Done   clock.RecordID // judged up to: arrived, refused, or folded; the rest waits

	Records, Bytes int64
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

func (b *Branch) encode() []byte {
	return rows.Encode(&branchRow{
		BaseSeq: b.Base.Seq, Base: b.Base.Hash, TipSeq: b.Tip.Seq, Tip: b.Tip.Hash, Time: b.Time,
		SignedSeq: b.Signed.Seq, Signed: b.Signed.Hash, DoneSeq: b.Done.Seq, Done: b.Done.Hash,
		Records: b.Records, Bytes: b.Bytes,
	})
}

// decodeBranch parses a row strictly.
func decodeBranch(log clock.LogID, num uint32, p []byte) (b Branch, err error) {
	var w branchRow
	if err := rows.Decode(p, "stored branch", &w); err != nil {
		return b, err
	}
	id := func(seq uint64, hash clock.Hash) clock.RecordID {
		if seq == 0 {
			return clock.RecordID{Hash: hash}
		}
		return clock.RecordID{Log: log, Seq: seq, Hash: hash}
	}
	return Branch{
		Num: num, Base: id(w.BaseSeq, w.Base), Tip: id(w.TipSeq, w.Tip), Time: w.Time,
		Signed: id(w.SignedSeq, w.Signed), Done: id(w.DoneSeq, w.Done), Records: w.Records, Bytes: w.Bytes,
	}, nil
}

// PutLog keeps whose log it is.
func (t Table) PutLog(tx store.Tx, l *Log) error { return tx.Put(t.logKey(l.Num), l.Raw) }

// PutBranch keeps how far a branch is.
func (t Table) PutBranch(tx store.Tx, log uint32, b *Branch) error {
	return tx.Put(t.branchKey(log, b.Num), b.encode())
}

// DeleteBranch takes a branch off a log.
func (t Table) DeleteBranch(tx store.Tx, log uint32, b *Branch) error {
	return tx.Delete(t.branchKey(log, b.Num))
}

// Logs returns all logs, by their numbers.
func (t Table) Logs(r store.Reader) ([]Log, error) {
	it := r.Iterate(store.Prefix(t.key(keyLog)))
	defer it.Close()
	var all []Log
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return nil, err
		}
		raw := slices.Clone(v)
		d, err := format.DecodeDescriptor(raw)
		if err != nil {
			return nil, err
		}
		all = append(all, Log{Num: uint32(len(all)), ID: format.LogIDOf(t.thread, raw), Desc: d, Raw: raw})
	}
	return all, it.Err()
}

// Branches returns the branches of each of all logs, by their numbers.
func (t Table) Branches(r store.Reader, logs []Log) ([][]Branch, error) {
	it := r.Iterate(store.Prefix(t.key(keyBranch)))
	defer it.Close()
	all := make([][]Branch, len(logs))
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return nil, err
		}
		k := it.Key()
		log := binary.BigEndian.Uint32(k[len(k)-8:])
		if int(log) >= len(logs) {
			return nil, fault.Of(format.ErrMalformed, "branch of an unknown log")
		}
		b, err := decodeBranch(logs[log].ID, binary.BigEndian.Uint32(k[len(k)-4:]), v)
		if err != nil {
			return nil, err
		}
		all[log] = append(all[log], b)
	}
	return all, it.Err()
}

// Descriptors reads the descriptors of logs by their numbers, whole or not.
func (t Table) Descriptors(r store.Reader) (map[uint32][]byte, error) {
	it := r.Iterate(store.Prefix(t.key(keyLog)))
	defer it.Close()
	out := map[uint32][]byte{}
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return nil, err
		}
		k := it.Key()
		out[binary.BigEndian.Uint32(k[len(k)-4:])] = slices.Clone(v)
	}
	return out, it.Err()
}

// Tips reads the last positions of logs by their numbers; what is not whole is
// passed over.
func (t Table) Tips(r store.Reader) (map[uint32]uint64, error) {
	it := r.Iterate(store.Prefix(t.key(keyBranch)))
	defer it.Close()
	tips := map[uint32]uint64{}
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return nil, err
		}
		k := it.Key()
		if b, err := decodeBranch(clock.LogID{}, 0, v); err == nil {
			log := binary.BigEndian.Uint32(k[len(k)-8:])
			tips[log] = max(tips[log], b.Tip.Seq)
		}
	}
	return tips, it.Err()
}
