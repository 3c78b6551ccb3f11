package storetest

import (
	"errors"
	"fmt"

	badgerds "github.com/ipfs/go-ds-badger"
)

// Raw is badger with nothing of ours around it: the yardstick of benchmarks.
type Raw struct{ ds *badgerds.Datastore }

// OpenRaw opens a badger in dir with the defaults of go-ds-badger, synced
// explicitly.
func OpenRaw(dir string) (*Raw, error) {
	o := badgerds.DefaultOptions
	o.SyncWrites, o.GcInterval = false, 0
	ds, err := badgerds.NewDatastore(dir, &o)
	if err != nil {
		return nil, fmt.Errorf("storetest: %w", err)
	}
	return &Raw{ds: ds}, nil
}

// Insert commits values under the keys, and one empty value under each index
// key, in one transaction, and syncs.
func (r *Raw) Insert(keys, indexKeys, values [][]byte) error {
	tx := r.ds.DB.NewTransaction(true)
	defer tx.Discard()
	for i := range keys {
		if err := errors.Join(tx.Set(keys[i], values[i]), tx.Set(indexKeys[i], nil)); err != nil {
			return err
		}
	}
	return errors.Join(tx.Commit(), r.ds.DB.Sync())
}

// Close closes the badger.
func (r *Raw) Close() error { return r.ds.Close() }
