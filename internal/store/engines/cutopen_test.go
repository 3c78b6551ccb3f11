package engines_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
)

// TestCutUnderOpenStore cuts every table of an open store. What is read is what was
// written or corrupt, a compaction says so, and all ends: the process too lives on.
func TestCutUnderOpenStore(t *testing.T) {
	for _, engine := range engines.Names() {
		t.Run(engine, func(t *testing.T) {
			dir, holds := specimen(t, engine, false)
			s := opener(engine)(t, dir)
			tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
			if err != nil || len(tables) == 0 {
				t.Fatalf("there is no table: %v", err)
			}
			for _, name := range tables {
				fi, err := os.Stat(name)
				if err == nil {
					err = os.Truncate(name, fi.Size()/2&^(1<<16-1)) // whole pages
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			damaged := 0
			snap := s.Snapshot()
			for k, v := range holds {
				switch got, err := snap.Get([]byte(k)); {
				case errors.Is(err, store.ErrCorrupt):
					damaged++
				case err != nil || string(got) != v:
					t.Fatalf("%s: got %d bytes, %v, want what was written or corrupt", k, len(got), err)
				}
			}
			snap.Release()
			if damaged == 0 {
				t.Error("nothing was found damaged")
			}
			began := time.Now()
			if err := s.Compact(t.Context()); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("a compaction: got %v, want corrupt", err)
			}
			if err := s.Close(); err != nil && !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("a close: %v", err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("a compaction and a close took %v", took)
			}
			if s, err := engines.Open(dir, nil); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("opened again: got %v, want corrupt", err)
				if err == nil {
					_ = s.Close()
				}
			}
		})
	}
}
