package thread

import (
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// Refused returns the records that are kept and have no effect, control records
// first, by hash.
func (t *Thread) Refused() []Refusal {
	t.mu.Lock()
	defer t.mu.Unlock()
	control := slices.Clone(t.graph.State().Refused)
	slices.SortFunc(control, func(a, b Refusal) int { return format.CompareHashes(a.ID.Hash, b.ID.Hash) })
	return append(control, t.refused...)
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

func encodeRefusal(f *Refusal) []byte {
	reason := []byte(f.Reason)
	return rows.Encode(&refusalRow{
		Log: f.ID.Log, Seq: f.ID.Seq, Hash: f.ID.Hash, Code: []byte(f.Kind), Reason: reason[:min(len(reason), 1024)],
	})
}

func (t *Thread) loadRefused(r store.Reader) error {
	it := r.Iterate(store.Prefix(t.key(keyRefused)))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return err
		}
		var w refusalRow
		if err := rows.Decode(v, "stored refusal", &w); err != nil {
			return err
		}
		id := clock.RecordID{Log: w.Log, Seq: w.Seq, Hash: w.Hash}
		t.refused = append(t.refused, Refusal{ID: id, Kind: fault.Kind(w.Code), Reason: string(w.Reason)})
	}
	return it.Err()
}

// refusedKey is the key of the refusal of a record: that of the record, but for its kind.
func (t *Thread) refusedKey(recordKey []byte) []byte {
	k := slices.Clone(recordKey)
	k[len(t.key(keyRefused))-1] = keyRefused
	return k
}

// putRefused keeps a refusal: Prune finds it by the record.
func (t *Thread) putRefused(tx store.Tx, log uint32, f *Refusal) error {
	return tx.Put(t.refusedKey(t.recordKey(log, f.ID.Seq, f.ID.Hash)), encodeRefusal(f))
}

// isRefused reports whether the record under a key is kept without effect.
func (t *Thread) isRefused(r store.Reader, recordKey []byte) bool {
	_, err := r.Get(t.refusedKey(recordKey))
	return err == nil
}
