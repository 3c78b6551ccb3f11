package fold

import (
	"errors"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/internal/store"
)

// MarkHandled rewrites stored refusals; it belongs to the committer. That an app has dealt
// with a refusal is a note of this replica: it is in no record and not in the state hash.
func (f *Fold) MarkHandled(keys [][]byte, handled bool) error {
	b := f.newBatch()
	defer b.discard()
	for _, k := range keys {
		v, err := b.tx.Get(k)
		if errors.Is(err, store.ErrNotFound) {
			continue // it is not refused any more
		}
		if err != nil {
			return err
		}
		if err := b.tx.Put(k, keyspace.WithHandled(v, handled)); err != nil {
			return err
		}
	}
	return b.finishPiece(nil, nil, true)
}
