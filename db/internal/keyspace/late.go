package keyspace

import (
	"bytes"

	"github.com/weftdb/weft/internal/store"
)

// LateDocs returns _id keys of up to 256 documents from key at on, with
// operations at from or later, and where to go on.
func LateDocs(r store.Reader, prefix, at []byte, from Ref) (ids [][]byte, next []byte, err error) {
	it := r.Iterate(store.Range{Lower: at, Upper: store.PrefixEnd(prefix)})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return nil, nil, err
		}
		h, err := ParseHead(v)
		if err != nil {
			return nil, nil, err
		}
		if h.Last.Time < from.Time || h.Count == 1 && h.Last.Time == 0 {
			continue // earlier, or of a snapshot, which is not judged
		}
		if len(ids) == 256 {
			return ids, bytes.Clone(it.Key()), nil
		}
		ids = append(ids, bytes.Clone(it.Key()[len(prefix):]))
	}
	return ids, nil, it.Err()
}
