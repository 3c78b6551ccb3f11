package thread

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/weftdb/weft/internal/store"
)

// remove deletes what the store holds of a thread, in steps, its entry last.
func (t *Thread) Remove(ctx context.Context) error {
	t.Close()
	prefix := binary.BigEndian.AppendUint32([]byte(keyThread), t.num)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := t.removeSome(prefix)
		if err != nil {
			return fmt.Errorf("net: remove thread: %w", err)
		}
		if n == 0 {
			break
		}
	}
	tx := t.env.store.Begin()
	defer tx.Discard()
	if err := errors.Join(tx.Delete(append([]byte(keyThreads), t.id[:]...)), tx.Commit()); err != nil {
		return fmt.Errorf("net: remove thread: %w", err)
	}
	return errors.Join(t.blobs.remove(), t.env.store.Sync())
}

func (t *Thread) removeSome(prefix []byte) (n int, err error) {
	snap := t.env.store.Snapshot()
	defer snap.Release()
	r := store.Prefix(prefix)
	r.KeysOnly = true
	it := snap.Iterate(r)
	defer it.Close()
	tx := t.env.store.Begin()
	defer tx.Discard()
	for ; it.Valid() && n < 4096; it.Next() {
		if err := tx.Delete(slices.Clone(it.Key())); errors.Is(err, store.ErrTooBig) {
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
