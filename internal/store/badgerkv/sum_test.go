package badgerkv

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/weftdb/weft/internal/store"
)

// Bytes of a table that become others while it is open are no value: neither a get nor a
// walk gives them.
func TestAlteredWhileOpen(t *testing.T) {
	dir := t.TempDir()
	s, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	tx := s.Begin()
	for i := range 1000 {
		if err := tx.Put(fmt.Appendf(nil, "key/%04d", i), fmt.Appendf(nil, "what was written %04d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tx.Commit(), s.Sync(), s.Close()); err != nil { // into a table
		t.Fatal(err)
	}
	if s, err = openStore(dir); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no table: %v", err)
	}
	altered := 0
	for _, name := range tables {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(b, []byte("what was written 0500"))
		if at < 0 {
			continue
		}
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt([]byte("W"), int64(at))
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		altered++
	}
	if altered == 0 {
		t.Fatal("no table has the value")
	}
	snap := s.Snapshot()
	defer snap.Release()
	if v, err := snap.Get([]byte("key/0500")); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("got %q, %v, want ErrCorrupt", v, err)
	}
	if v, err := snap.Get([]byte("key/0501")); err != nil || string(v) != "what was written 0501" {
		t.Errorf("beside it: got %q, %v", v, err)
	}
	it := snap.Iterate(store.Prefix([]byte("key/0500")))
	defer it.Close()
	if v, err := it.Value(); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("walked over %q, %v, want ErrCorrupt", v, err)
	}
}
