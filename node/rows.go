package node

import (
	"encoding/json"
	"fmt"

	"github.com/weftdb/weft/internal/store"
)

// The node's own part of the store's key space, and the parts that it gives
// away. Each begins with its own byte; package net has 'n'.
const (
	prefixAPIKey   = "wk/" // ‖ public key → API key
	prefixDatabase = "wd/" // ‖ name → databaseRow
	prefixRelay    = "wr/" // ‖ peer ID → relayRow
	prefixRemoved  = "wx/" // ‖ thread ID → number of a database whose removal is not complete
	keyNumber      = "wn"  // the last database number that was given, decimal
	prefixFold     = 'd'   // ‖ database number (uvarint) → package db
	prefixMail     = "m/"  // package inbox: mail that this node keeps as a relay
)

// commitSync commits and syncs. After an error of the sync what was committed may be there
// or not when the store is opened again.
func commitSync(s store.Store, tx store.Tx) error {
	if err := tx.Commit(); err != nil {
		return err
	}
	return s.Sync()
}

// putJSON writes a row into tx; its caller commits.
func putJSON(tx store.Tx, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("row %q: %w", key, err)
	}
	if err := tx.Put([]byte(key), b); err != nil {
		return fmt.Errorf("row %q: %w", key, err)
	}
	return nil
}

// eachJSON calls f with every row under prefix, in the order of their keys.
func eachJSON[T any](s store.Store, prefix string, f func(key string, v T) error) error {
	snap := s.Snapshot()
	defer snap.Release()
	return eachJSONIn(snap, prefix, f)
}

// eachJSONIn is eachJSON on a view of the store.
func eachJSONIn[T any](r store.Reader, prefix string, f func(key string, v T) error) error {
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
