package thread

import (
	"encoding/binary"
	"fmt"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// Restored says that a store is a copy of what it was at another time: each
// thread's next record begins a new data log, as the device may have written more
// in its present one. No host may have the store open. Calling it again changes
// nothing.
func Restored(st store.Store) error {
	tx := st.Begin()
	defer tx.Discard()
	it := tx.Iterate(store.Prefix([]byte(keyThreads)))
	var owns [][]byte
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			it.Close()
			return fmt.Errorf("threads: %w", err)
		}
		if len(it.Key()) == len(keyThreads)+len(format.ThreadID{}) && len(v) == 4 {
			owns = append(owns, append(append([]byte(keyThread), v...), keyOwn))
		}
	}
	err := it.Err()
	it.Close()
	if err != nil {
		return fmt.Errorf("threads: %w", err)
	}
	for _, key := range owns {
		v, err := tx.Get(key)
		if err != nil || len(v) != 8 {
			continue // a thread that is kept for others has no logs of ours
		}
		own := binary.BigEndian.AppendUint32(append([]byte(nil), v[:4]...), noLog)
		if err := tx.Put(key, own); err != nil {
			return fmt.Errorf("own logs: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("own logs: %w", err)
	}
	return st.Sync()
}
