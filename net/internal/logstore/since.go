package logstore

import (
	"encoding/binary"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// A Cut is what a replica notes of a checkpoint that is in force.
type Cut struct {
	Since  int64 // Unix seconds
	Pruned bool  // what it covers is deleted
}

// PutCut keeps what is noted of a checkpoint.
func (t Table) PutCut(tx store.Tx, checkpoint clock.Hash, c Cut) error {
	v := binary.BigEndian.AppendUint64(nil, uint64(c.Since))
	if c.Pruned {
		v = append(v, 1)
	}
	return tx.Put(append(t.key(keySince), checkpoint[:]...), v)
}

// Cuts returns what is noted of checkpoints; one whose row is damaged is left out, as if it had
// come into force now.
func (t Table) Cuts(r store.Reader) (map[clock.Hash]Cut, error) {
	prefix := t.key(keySince)
	it := r.Iterate(store.Prefix(prefix))
	defer it.Close()
	all := map[clock.Hash]Cut{}
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return nil, err
		}
		if h := it.Key()[len(prefix):]; len(h) == len(clock.Hash{}) && (len(v) == 8 || len(v) == 9) {
			all[clock.Hash(h)] = Cut{int64(binary.BigEndian.Uint64(v)), len(v) == 9}
		}
	}
	return all, it.Err()
}
