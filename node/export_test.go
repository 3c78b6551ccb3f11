package node

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/weftdb/weft/node/internal/rows"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net"
)

// Forks returns how many logs of a database are known to be forked.
func Forks(n *Node, name string) (int, error) {
	d, err := n.lookup(name)
	if err != nil {
		return 0, err
	}
	forks, err := d.thread.Forks()
	return len(forks), err
}

// Suspended reports whether a database is not in memory.
func Suspended(n *Node, name string) (bool, error) {
	d, err := n.lookup(name)
	if err != nil {
		return false, err
	}
	return !d.handle.loaded(), nil
}

// Harm damages something of a database in the store: records, body, documents or
// arrivals.
func Harm(t *testing.T, n *Node, name, what string) {
	t.Helper()
	d, err := n.find(name)
	if err != nil {
		t.Fatal(err)
	}
	d.rest() // what is in memory is not what is stored
	last := func(v []byte) []byte { v[len(v)-3] ^= 1; return v }
	switch what {
	case "records": // two of its control log come before those of its data log
		edit(t, n.store, threadKey(d, 'r'), func(i int, _ []byte) ([]byte, bool) { return nil, i == 10+2 })
	case "body":
		edit(t, n.store, threadKey(d, 'r'), func(i int, v []byte) ([]byte, bool) { return last(v), i == 10+2 })
	case "documents":
		edit(t, n.store, append(foldPrefix(d.number), 'd'), func(i int, v []byte) ([]byte, bool) { return last(v), i == 20 })
	case "arrivals":
		edit(t, n.store, threadKey(d, 'a'), func(i int, _ []byte) ([]byte, bool) { return nil, i == 10 })
	}
}

// edit changes the values of the keys under a prefix that the change picks; nil
// deletes.
func edit(t *testing.T, s store.Store, prefix []byte, change func(i int, value []byte) ([]byte, bool)) {
	t.Helper()
	tx := s.Begin()
	defer tx.Discard()
	snap := s.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Prefix(prefix))
	defer it.Close()
	changed := false
	for i := 0; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			t.Fatal(err)
		}
		if v, ok := change(i, append([]byte(nil), v...)); ok && v == nil {
			err, changed = tx.Delete(append([]byte(nil), it.Key()...)), true
		} else if ok {
			err, changed = tx.Put(append([]byte(nil), it.Key()...), v), true
		}
		if err != nil {
			t.Fatal(err)
		}
		i++
	}
	if !changed {
		t.Fatalf("no key under %q was changed", prefix)
	}
	if err := rows.Commit(s, tx); err != nil {
		t.Fatal(err)
	}
}

// threadKey begins the keys of one kind of a database's thread.
func threadKey(d *database, kind byte) []byte { return append(d.thread.Prefix(), kind) }

// CompactStore merges the store of a node, so that it is in tables.
func CompactStore(ctx context.Context, n *Node) error { return n.store.Compact(ctx) }

// Blobs returns how many blobs of a database are held, and their bytes.
func Blobs(n *Node, name string) (count, bytes int64, err error) {
	d, err := n.lookup(name)
	if err != nil {
		return 0, 0, err
	}
	c := d.thread.Counts()
	return c.Blobs, c.BlobBytes, nil
}

// Removals returns how many databases are removed of which something is left.
func Removals(t *testing.T, n *Node) (count int) {
	t.Helper()
	if err := rows.Each(n.store, prefixRemoved, func(string, uint64) error { count++; return nil }); err != nil {
		t.Fatal(err)
	}
	return count
}

// HarmKept alters a record of the first thread that a relay keeps, but for its control log.
func HarmKept(t *testing.T, n *Node) {
	t.Helper()
	edit(t, n.store, append(n.kept()[0].Prefix(), 'r'), func(i int, v []byte) ([]byte, bool) { v[len(v)-3] ^= 1; return v, i == 5 })
}

// FirstOf returns when the first record that this device wrote to a database was written.
func FirstOf(n *Node, name string) (at clock.Time, err error) {
	d, err := n.lookup(name)
	if err != nil {
		return 0, err
	}
	own := d.thread.Own()
	as, err := d.thread.Arrivals(0, 1<<20)
	for _, a := range as {
		if slices.ContainsFunc(own, func(id clock.RecordID) bool { return id.Log == a.ID.Log }) {
			return a.Time, err
		}
	}
	return 0, err
}

// Forge writes the last record of a database to another, dated as one likes and past what
// this node would refuse: what a hostile device can do with keys of its own.
func Forge(n *Node, from, to string, at clock.Time) error {
	src, err := n.lookup(from)
	if err != nil {
		return err
	}
	dst, err := n.lookup(to)
	if err != nil {
		return err
	}
	as, err := src.thread.Arrivals(0, 1<<20)
	if err != nil || len(as) == 0 {
		return fmt.Errorf("%d records, %w", len(as), err)
	}
	tx := n.store.Begin()
	defer tx.Discard()
	_, _, done, err := dst.thread.Append(tx, []net.Draft{{Time: at, Payload: as[len(as)-1].Payload}})
	if err != nil {
		return err
	}
	err = rows.Commit(n.store, tx)
	done(err == nil)
	dst.arrived() // as nothing of its own is told
	return err
}
