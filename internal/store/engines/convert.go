package engines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/weftdb/weft/internal/durable"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// Beside a store while it is converted: what it will be, and then what it was.
const (
	nextSuffix = ".next"
	pastSuffix = ".past"
)

// Convert copies the store in dir, which is closed, to another engine. The copy is
// compared with the store before it takes its place; a crash leaves one of the two.
func Convert(ctx context.Context, dir, engine string, o *Options) error {
	if _, err := byName(engine); err != nil {
		return err
	}
	if err := settle(dir); err != nil {
		return err
	}
	has, err := Engine(dir)
	if err != nil {
		return err
	}
	if has == "" {
		return fault.Errorf(fault.NotFound, "%s holds no store", dir)
	}
	if has == engine {
		return fault.Errorf(fault.InvalidArgument, "%s has engine %q already", dir, engine)
	}
	opts := Options{}
	if o != nil {
		opts = *o
	}
	next := dir + nextSuffix
	if err := os.RemoveAll(next); err != nil {
		return fmt.Errorf("remove what an earlier conversion left: %w", err)
	}
	if err := convertInto(ctx, dir, next, opts, engine); err != nil {
		return errors.Join(err, os.RemoveAll(next))
	}
	if err := os.Rename(dir, dir+pastSuffix); err != nil {
		return fmt.Errorf("convert the store: %w", err)
	}
	return settle(dir)
}

func convertInto(ctx context.Context, dir, next string, o Options, engine string) (err error) {
	o.Engine = ""
	from, err := Open(dir, &o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	o.Engine = engine
	to, err := Open(next, &o)
	if err != nil {
		return err
	}
	if err := copyStore(ctx, from, to); err != nil {
		return errors.Join(err, to.Close())
	}
	if err := to.Close(); err != nil {
		return err
	}
	// What is on disk counts, not what was meant to be.
	if to, err = Open(next, &o); err != nil {
		return err
	}
	return errors.Join(compareStores(ctx, from, to), to.Close())
}

// copyStore writes every key of one store into another, and syncs it.
func copyStore(ctx context.Context, from, to store.Store) error {
	snap := from.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Range{})
	defer it.Close()
	w := NewWriter(to)
	for ; it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, w.Close())
		}
		v, err := it.Value()
		if err == nil {
			err = w.Put(it.Key(), v)
		}
		if err != nil {
			return errors.Join(err, w.Close())
		}
	}
	return errors.Join(it.Err(), w.Close())
}

// A Writer fills a store with keys, in as many transactions as it takes. The caller
// owes Close, which syncs.
type Writer struct {
	s  store.Store
	tx store.Tx
}

// NewWriter returns a writer to s.
func NewWriter(s store.Store) *Writer { return &Writer{s: s, tx: s.Begin()} }

// Put writes one key. It keeps neither slice.
func (w *Writer) Put(key, value []byte) error {
	key, value = bytes.Clone(key), bytes.Clone(value)
	err := w.tx.Put(key, value)
	if !errors.Is(err, store.ErrTooBig) {
		return err
	}
	if err := w.tx.Commit(); err != nil {
		return err
	}
	w.tx = w.s.Begin()
	return w.tx.Put(key, value)
}

// Close commits and syncs what was written.
func (w *Writer) Close() error {
	defer w.tx.Discard()
	if err := w.tx.Commit(); err != nil {
		return err
	}
	return w.s.Sync()
}

// compareStores reports the first key at which two stores differ.
func compareStores(ctx context.Context, a, b store.Store) error {
	sa, sb := a.Snapshot(), b.Snapshot()
	defer sa.Release()
	defer sb.Release()
	ia, ib := sa.Iterate(store.Range{}), sb.Iterate(store.Range{})
	defer ia.Close()
	defer ib.Close()
	for ; ia.Valid() && ib.Valid(); ia.Next() {
		va, err := ia.Value()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		vb, err := ib.Value()
		if err != nil {
			return err
		}
		if !bytes.Equal(ia.Key(), ib.Key()) || !bytes.Equal(va, vb) {
			break
		}
		ib.Next()
	}
	if err := errors.Join(ia.Err(), ib.Err()); err != nil {
		return err
	}
	if ia.Valid() || ib.Valid() {
		return fault.Errorf(fault.Internal, "the converted store is not the same: the old one was kept")
	}
	return nil
}

// settle ends a conversion that a crash left between its last renames.
func settle(dir string) error {
	past, next := dir+pastSuffix, dir+nextSuffix
	if _, err := os.Lstat(past); err != nil {
		return nil //nolint:nilerr // nothing was under way
	}
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		if err := os.Rename(next, dir); err != nil {
			return fmt.Errorf("end the conversion of the store: %w", err)
		}
	}
	if err := durable.Folder(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("end the conversion of the store: %w", err)
	}
	if err := os.RemoveAll(past); err != nil {
		return fmt.Errorf("end the conversion of the store: %w", err)
	}
	return nil
}

// Salvage gives put what can be read of the store in dir, which is closed, whatever
// is wrong with it, and lists what cannot: of each key the newest version that can be
// read, in no order, maybe twice.
func Salvage(ctx context.Context, dir string, put func(key, value []byte) error) ([]store.Damage, error) {
	name, err := Engine(dir)
	if errors.Is(err, store.ErrCorrupt) {
		name, err = guess(dir)
	}
	if err != nil {
		return nil, err
	}
	if name == "" {
		return []store.Damage{{File: dir, Err: fault.Of(store.ErrCorrupt, "%s holds no store", dir)}}, nil
	}
	e, err := byName(name)
	if err != nil {
		return nil, err
	}
	return e.salvage(ctx, dir, func(key, value []byte) error {
		if len(key) == 0 || len(key) > store.MaxKey || bytes.HasPrefix(key, []byte("!")) {
			return nil // an engine's own
		}
		return put(key, value)
	})
}

// guess returns the engine by the names of its files.
func guess(dir string) (string, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("read the store's folder: %w", err)
	}
	for _, f := range files {
		switch n := f.Name(); {
		case strings.HasSuffix(n, ".vlog"):
			return "badger", nil
		case strings.HasPrefix(n, "OPTIONS-"), strings.HasSuffix(n, ".log"), strings.HasPrefix(n, "marker.manifest"):
			return "pebble", nil
		}
	}
	return "", nil
}
