package engines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// Default is the engine of new stores.
const Default = "badger"

// Names returns the names of the engines.
func Names() []string { return []string{"badger", "pebble"} }

// Engine returns the engine of the store in dir, "" if there is no store.
func Engine(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, "ENGINE"))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the store's engine: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Salvage calls put with every pair of the closed store in dir that can be read, and
// returns what cannot.
func Salvage(ctx context.Context, dir string, put func(key, value []byte) error) (unread []store.Damage, err error) {
	engine, err := Engine(dir)
	if err != nil {
		return nil, err
	}
	s, err := Open(dir, &Options{Engine: engine})
	if err != nil {
		return []store.Damage{{File: dir, Err: fault.Of(store.ErrCorrupt, "%s cannot be opened: %v", dir, err)}}, nil
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	snap := s.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Range{})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			unread = append(unread, store.Damage{File: dir, Err: err})
			continue
		}
		if err := errors.Join(ctx.Err(), put(append([]byte(nil), it.Key()...), append([]byte(nil), v...))); err != nil {
			return unread, err
		}
	}
	if err := it.Err(); err != nil {
		unread = append(unread, store.Damage{File: dir, Err: err})
	}
	return unread, nil
}

// Convert moves the closed store in dir to another engine.
func Convert(ctx context.Context, dir, engine string, o *Options) (err error) {
	next := dir + ".converted"
	if err := os.RemoveAll(next); err != nil {
		return err
	}
	to, err := Open(next, &Options{Engine: engine})
	if err != nil {
		return err
	}
	tx := to.Begin()
	unread, err := Salvage(ctx, dir, func(key, value []byte) error {
		err := tx.Put(key, value)
		if errors.Is(err, store.ErrTooBig) {
			if err := tx.Commit(); err != nil {
				return err
			}
			tx = to.Begin()
			err = tx.Put(key, value)
		}
		return err
	})
	if err == nil {
		err = tx.Commit()
	}
	tx.Discard()
	if err = errors.Join(err, to.Close()); err == nil && len(unread) > 0 {
		err = unread[0].Err
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(next))
	}
	old := dir + ".old"
	return errors.Join(os.Rename(dir, old), os.Rename(next, dir), os.RemoveAll(old))
}
