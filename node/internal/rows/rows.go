// Package rows keeps rows of a store as JSON.
package rows

import (
	"encoding/json"
	"fmt"

	"github.com/weftdb/weft/internal/store"
)

// CommitSync commits and syncs. After an error of the sync what was committed may be there
// or not when the store is opened again.
func CommitSync(s store.Store, tx store.Tx) error {
	if err := tx.Commit(); err != nil {
		return err
	}
	return s.Sync()
}

// PutJSON writes a row into tx; its caller commits.
func PutJSON(tx store.Tx, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("row %q: %w", key, err)
	}
	if err := tx.Put([]byte(key), b); err != nil {
		return fmt.Errorf("row %q: %w", key, err)
	}
	return nil
}

// EachJSON calls f with every row under prefix, in the order of their keys.
func EachJSON[T any](s store.Store, prefix string, f func(key string, v T) error) error {
	snap := s.Snapshot()
	defer snap.Release()
	return EachJSONIn(snap, prefix, f)
}

// EachJSONIn is EachJSON on a view of the store.
func EachJSONIn[T any](r store.Reader, prefix string, f func(key string, v T) error) error {
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
