package thread

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// Restored says that a store is a copy of what it was at another time: each
// thread's next record begins a new data log, as the device may have written more
// in its present one, and new threads get numbers that nothing has. No host may have the store open. Calling it again changes
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
	if err := recount(tx); err != nil {
		return fmt.Errorf("threads: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("own logs: %w", err)
	}
	return st.Sync()
}

// recount makes sure that the next thread gets a number which nothing in the store
// has, whatever was lost.
func recount(tx store.Tx) error {
	v, err := tx.Get([]byte(keyThreads))
	var next uint32
	switch {
	case err == nil && len(v) == 4:
		next = binary.BigEndian.Uint32(v)
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	}
	used := next
	err = eachNumber(tx, func(num uint32) bool { used = max(used, num+1); return true })
	if err != nil || used == next {
		return err
	}
	return tx.Put([]byte(keyThreads), binary.BigEndian.AppendUint32(nil, used))
}

// eachNumber calls f for each thread number under which the store holds something,
// until it returns false.
func eachNumber(r store.Reader, f func(num uint32) bool) error {
	rng := store.Prefix([]byte(keyThread))
	rng.KeysOnly = true
	it := r.Iterate(rng)
	defer it.Close()
	for it.Valid() {
		k := it.Key()
		if len(k) < len(keyThread)+4 {
			it.Next()
			continue
		}
		num := binary.BigEndian.Uint32(k[len(keyThread):])
		if !f(num) || num == noLog {
			break
		}
		it.Seek(binary.BigEndian.AppendUint32([]byte(keyThread), num+1))
	}
	return it.Err()
}
