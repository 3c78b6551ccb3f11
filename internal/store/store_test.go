package store_test

import (
	"errors"
	"testing"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/pebblekv"
)

// TestFailure checks that a store stops writing when a commit has failed.
func TestFailure(t *testing.T) {
	eng, err := pebblekv.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	fault := errors.New("disk")
	c, err := store.New(failing{eng, fault}, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		tx := c.Begin()
		if err := tx.Put([]byte("a"), nil); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); !errors.Is(err, fault) {
			t.Errorf("got %v, want %v", err, fault)
		}
	}
	if err := c.Sync(); !errors.Is(err, fault) {
		t.Errorf("sync: got %v, want %v", err, fault)
	}
	if err := c.Close(); !errors.Is(err, fault) {
		t.Errorf("close: got %v, want %v", err, fault)
	}
}

type failing struct {
	store.Engine
	err error
}

func (f failing) Apply(*store.Writes) error { return f.err }

func TestPrefixEnd(t *testing.T) {
	for in, want := range map[string]string{"a": "b", "a\xff": "b", "\xff\xff": "", "": "", "a\x00": "a\x01"} {
		if got := string(store.PrefixEnd([]byte(in))); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
