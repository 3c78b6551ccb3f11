// Package rows writes rows of JSON into an ordered store and reads them, each under a prefix and its
// name. What the prefixes are, and what the rows hold, is for its callers.
package rows

import (
	"encoding/json"
	"fmt"

	"github.com/weftdb/weft/internal/store"
)

// Commit commits and syncs. After an error of the sync what was committed may be there
// or not when the store is opened again.
func Commit(s store.Store, tx store.Tx) error {
	if err := tx.Commit(); err != nil {
		return err
	}
	return s.Sync()
}

// Put writes a row into tx; its caller commits.
func Put(tx store.Tx, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("row %q: %w", key, err)
	}
	if err := tx.Put([]byte(key), b); err != nil {
		return fmt.Errorf("row %q: %w", key, err)
	}
	return nil
}

// Each calls f with every row under prefix, in the order of their keys.
func Each[T any](s store.Store, prefix string, f func(key string, v T) error) error {
	snap := s.Snapshot()
	defer snap.Release()
	return EachIn(snap, prefix, f)
}

// EachIn is Each on a view of the store.
func EachIn[T any](r store.Reader, prefix string, f func(key string, v T) error) error {
	it := r.Iterate(store.Prefix([]byte(prefix)))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		b, err := it.Value()
		if err != nil {
			return err
		}
		var v T
		if err := json.Unmarshal(b, &v); err != nil {
			return fmt.Errorf("row %q: %w", it.Key(), err)
		}
		if err := f(string(it.Key()[len(prefix):]), v); err != nil {
			return err
		}
	}
	if err := it.Err(); err != nil {
		return err
	}
	return nil
}
