// Package engines opens a store by the name of its engine. It is where the engines
// are linked: what only reads and writes a store imports package store.
package engines

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/badgerkv"
	"github.com/weftdb/weft/internal/store/pebblekv"
)

// Options tunes a store. The zero value suits production.
type Options struct {
	// Engine is "badger" (the default, also for "") or "pebble".
	Engine string
	// CacheBytes is the size of the block cache of engines that have one; 0
	// means 32 MiB.
	CacheBytes int64
	// Logf receives the engine's own warnings and errors; nil discards them.
	Logf func(format string, args ...any)
}

// byName is every engine.
var byName = map[string]func(dir string, o Options) (store.Engine, error){
	"badger": func(dir string, o Options) (store.Engine, error) {
		return badgerkv.Open(dir, badgerkv.Options{Logf: o.Logf})
	},
	"pebble": func(dir string, o Options) (store.Engine, error) {
		return pebblekv.Open(dir, pebblekv.Options{CacheBytes: o.CacheBytes, Logf: o.Logf})
	},
}

// Open opens the store in dir, creating both if absent. A store stays with the
// engine that created it. The caller owes Close.
func Open(dir string, o *Options) (store.Store, error) {
	opts := Options{}
	if o != nil {
		opts = *o
	}
	if opts.Engine == "" {
		has, err := Engine(dir)
		if err != nil {
			return nil, err
		}
		if opts.Engine = has; has == "" {
			opts.Engine = Default
		}
	}
	open, known := byName[opts.Engine]
	if !known {
		return nil, fault.Errorf(fault.InvalidArgument, "unknown engine %q: want badger or pebble", opts.Engine)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	if err := claim(dir, opts.Engine); err != nil {
		return nil, err
	}
	eng, err := open(dir, opts)
	if err != nil {
		if isLocked(err) {
			return nil, fault.Of(store.ErrLocked, "another process has %s open", dir)
		}
		return nil, fmt.Errorf("open %s with %s: %w", dir, opts.Engine, err)
	}
	return store.New(eng), nil
}

// OpenMemory opens an empty store in memory, for tests: pebble over its own
// memory file system. Nothing of it remains after Close.
func OpenMemory() (store.Store, error) {
	eng, err := pebblekv.OpenMemory()
	if err != nil {
		return nil, fmt.Errorf("open a store in memory: %w", err)
	}
	return store.New(eng), nil
}

// claim makes sure that dir belongs to engine. The name of a store's engine is
// in its file ENGINE.
func claim(dir, engine string) error {
	name := filepath.Join(dir, "ENGINE")
	got, err := os.ReadFile(name)
	if err == nil {
		if s := strings.TrimSpace(string(got)); s != engine {
			return fault.Errorf(fault.InvalidArgument, "%s holds a store of engine %q, not %q", dir, s, engine)
		}
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read the store's engine: %w", err)
	}
	f, err := os.CreateTemp(dir, "ENGINE-*.tmp")
	if err != nil {
		return fmt.Errorf("write the store's engine: %w", err)
	}
	_, err = f.WriteString(engine + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the store's engine: %w", err), os.Remove(f.Name()))
	}
	// The folder is new: a loss of power must not take it, and what is synced in it.
	if err := errors.Join(syncDir(dir), syncDir(filepath.Dir(dir))); err != nil {
		return fmt.Errorf("sync the store's folder: %w", err)
	}
	return nil
}

// syncDir makes the entries of a folder durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // directories cannot be synced there
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// isLocked reports whether err is how an engine says that the directory is in
// use: by errno, or by text where the engine gives no more.
func isLocked(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EWOULDBLOCK) ||
		strings.Contains(err.Error(), "lock held by current process") ||
		strings.Contains(err.Error(), "Cannot acquire directory lock")
}
