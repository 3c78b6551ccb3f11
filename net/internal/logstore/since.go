package logstore

import (
	"encoding/binary"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// PutSince keeps since when a checkpoint is in force here, in Unix seconds.
func (t Table) PutSince(tx store.Tx, checkpoint clock.Hash, at int64) error {
	return tx.Put(append(t.key(keySince), checkpoint[:]...), binary.BigEndian.AppendUint64(nil, uint64(at)))
}

// Since returns since when checkpoints are in force here; one whose row is damaged is left out,
// as if it had come into force now.
func (t Table) Since(r store.Reader) (map[clock.Hash]int64, error) {
	prefix := t.key(keySince)
	it := r.Iterate(store.Prefix(prefix))
	defer it.Close()
	all := map[clock.Hash]int64{}
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return nil, err
		}
		if h := it.Key()[len(prefix):]; len(h) == len(clock.Hash{}) && len(v) == 8 {
			all[clock.Hash(h)] = int64(binary.BigEndian.Uint64(v))
		}
	}
	return all, it.Err()
}
