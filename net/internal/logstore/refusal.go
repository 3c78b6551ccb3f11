package logstore

import (
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A Refusal is a record that is kept and has no effect.
type Refusal struct {
	ID     clock.RecordID
	Kind   fault.Kind
	Reason string // a sentence
}

// refusalRow is a refusal as it is kept: the reason is cut at 1 KiB, as a peer's text
// may be in it.
type refusalRow struct {
	_      struct{} `cbor:",toarray"`
	Log    clock.LogID
	Seq    uint64
	Hash   clock.Hash
	Code   []byte
	Reason []byte
}

func (f *Refusal) encode() []byte {
	reason := []byte(f.Reason)
	return rows.Encode(&refusalRow{
		Log: f.ID.Log, Seq: f.ID.Seq, Hash: f.ID.Hash, Code: []byte(f.Kind), Reason: reason[:min(len(reason), 1024)],
	})
}

// Refused returns what is kept without effect.
func (t Table) Refused(r store.Reader) ([]Refusal, error) {
	it := r.Iterate(store.Prefix(t.key(keyRefused)))
	defer it.Close()
	var all []Refusal
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return nil, err
		}
		var w refusalRow
		if err := rows.Decode(v, "stored refusal", &w); err != nil {
			return nil, err
		}
		id := clock.RecordID{Log: w.Log, Seq: w.Seq, Hash: w.Hash}
		all = append(all, Refusal{ID: id, Kind: fault.Kind(w.Code), Reason: string(w.Reason)})
	}
	return all, it.Err()
}

// PutRefused keeps a refusal: PruneRecords finds it by the record.
func (t Table) PutRefused(tx store.Tx, log uint32, f *Refusal) error {
	return tx.Put(t.refusedKey(t.recordKey(log, f.ID.Seq, f.ID.Hash)), f.encode())
}

// IsRefused reports whether the record under a key, of [Table.EachRecord], is kept
// without effect.
func (t Table) IsRefused(r store.Reader, recordKey []byte) bool {
	_, err := r.Get(t.refusedKey(recordKey))
	return err == nil
}

// refusedKey is the key of the refusal of a record: that of the record, but for its kind.
func (t Table) refusedKey(recordKey []byte) []byte {
	k := slices.Clone(recordKey)
	k[len(t.key(keyRefused))-1] = keyRefused
	return k
}
