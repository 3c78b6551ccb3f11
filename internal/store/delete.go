package store

import (
	"errors"
	"fmt"
	"slices"
)

// DeleteSome deletes some of the keys that begin with prefix, in a transaction that may
// use the reserve of a full disk, and returns how many; 0 says that nothing is left.
func DeleteSome(s Store, prefix []byte) (n int, err error) {
	snap := s.Snapshot()
	defer snap.Release()
	r := Prefix(prefix)
	r.KeysOnly = true
	it := snap.Iterate(r)
	defer it.Close()
	tx := s.Begin()
	defer tx.Discard()
	tx.UseReserve()
	for ; it.Valid() && n < 4096; it.Next() {
		if err := tx.Delete(slices.Clone(it.Key())); errors.Is(err, ErrTooBig) {
			break
		} else if err != nil {
			return 0, err
		}
		n++
	}
	if err := it.Err(); err != nil {
		return 0, err
	}
	return n, tx.Commit()
}

// DeleteAll deletes every key that begins with prefix, as [DeleteSome] does, each part of
// it durably.
func DeleteAll(s Store, prefix []byte) error {
	for {
		n, err := DeleteSome(s, prefix)
		if err == nil && n > 0 {
			err = s.Sync()
		}
		if err != nil {
			return fmt.Errorf("delete: %w", err)
		}
		if n == 0 {
			return nil
		}
	}
}
