// Package engines opens a store by the name of its engine. It is where the engines
// are linked: what only reads and writes a store imports package store.
//
//	engines.go   opening
//	convert.go   a store of one engine to another; what is left of a damaged one
package engines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/weftdb/weft/internal/durable"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/badgerkv"
	"github.com/weftdb/weft/internal/store/pebblekv"
)

// Default is the engine of a new store; docs/adr/0009 says why.
const Default = "pebble"

// engineFile holds the name of a store's engine.
const engineFile = "ENGINE"

// Options tunes a store. The zero value suits production.
type Options struct {
	// Engine is one of Names; "" means the one that the store has, or Default.
	Engine string
	// CacheBytes is the size of the block cache of engines that have one; 0
	// means 32 MiB.
	CacheBytes int64
	// Forgive opens a store that has lost what was durable, for a repair.
	Forgive bool
	// Damaged is told of each read that met damage, and of a key that it asked for. It
	// must not use the store.
	Damaged func(key []byte, err error)
	// Logf receives the engine's own warnings and errors; nil discards them.
	Logf func(format string, args ...any)
}

// An engine is one of those that a store may have.
type engine struct {
	name    string
	open    func(dir string, o Options, create bool, durable uint64, space *store.Space) (store.Engine, error)
	salvage func(ctx context.Context, dir string, put func(key, value []byte) error) ([]store.Damage, error)
}

var all = []engine{
	{"badger", func(dir string, o Options, create bool, durable uint64, space *store.Space) (store.Engine, error) {
		return badgerkv.Open(dir, badgerkv.Options{Logf: o.Logf, Create: create, Durable: durable, Space: space})
	}, badgerkv.Salvage},
	{"pebble", func(dir string, o Options, create bool, durable uint64, space *store.Space) (store.Engine, error) {
		return pebblekv.Open(dir, pebblekv.Options{CacheBytes: o.CacheBytes, Logf: o.Logf, Create: create, Durable: durable, Space: space})
	}, pebblekv.Salvage},
}

// witnessed returns the position that must be there.
func witnessed(dir string, o Options) (uint64, error) {
	if o.Forgive {
		return 0, nil
	}
	return store.Witnessed(dir)
}

// Names returns the engines that there are.
func Names() []string {
	var names []string
	for _, e := range all {
		names = append(names, e.name)
	}
	return names
}

func byName(name string) (engine, error) {
	i := slices.IndexFunc(all, func(e engine) bool { return e.name == name })
	if i < 0 {
		return engine{}, fault.Errorf(fault.InvalidArgument, "unknown engine %.40q: want one of %s", name, strings.Join(Names(), ", "))
	}
	return all[i], nil
}

// Engine returns the engine of the store in dir, or "" if none is there. A folder
// that holds an engine's files and does not say which is ErrCorrupt.
func Engine(dir string) (string, error) {
	name, _, err := claimed(dir)
	return name, err
}

// claimed reads the file ENGINE: the engine's name, and "new" after it until the
// store has been opened once.
func claimed(dir string) (engine string, whole bool, err error) {
	name := filepath.Join(dir, engineFile)
	b, err := os.ReadFile(name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		left, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", false, fmt.Errorf("read the store's folder: %w", err)
		}
		for _, f := range left {
			if !strings.HasSuffix(f.Name(), ".tmp") && f.Name() != store.ReserveFile {
				return "", false, fault.Of(store.ErrCorrupt, "%s is missing, and %s is not empty: run weft doctor", name, dir)
			}
		}
		return "", false, nil
	case err != nil:
		return "", false, fmt.Errorf("read the store's engine: %w", err)
	}
	words := strings.Fields(string(b))
	if !strings.HasSuffix(string(b), "\n") || len(words) == 0 || len(words) > 2 || !slices.Contains(Names(), words[0]) || len(words) == 2 && words[1] != "new" {
		return "", false, fault.Of(store.ErrCorrupt, "%s is damaged: run weft doctor (it names no engine)", name)
	}
	return words[0], len(words) == 1, nil
}

// Open opens the store in dir, creating both if absent. A store stays with the
// engine that created it. One that is there and cannot be read whole, or has lost
// what was durable, is ErrCorrupt; it is never taken for an empty one. The caller
// owes Close.
func Open(dir string, o *Options) (store.Store, error) {
	opts := Options{}
	if o != nil {
		opts = *o
	}
	if err := settle(dir); err != nil {
		return nil, err
	}
	has, whole, err := claimed(dir)
	if err != nil {
		return nil, err
	}
	if opts.Engine == "" {
		opts.Engine = has
	}
	if opts.Engine == "" {
		opts.Engine = Default
	}
	e, err := byName(opts.Engine)
	if err != nil {
		return nil, err
	}
	if has != "" && has != opts.Engine {
		return nil, fault.Errorf(fault.InvalidArgument, "%s holds a store of engine %q, not %q", dir, has, opts.Engine)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	if has == "" {
		if err := claim(dir, opts.Engine+" new"); err != nil {
			return nil, err
		}
	}
	durable, err := witnessed(dir, opts)
	if err != nil {
		return nil, err
	}
	space := store.OpenSpace(dir)
	eng, err := e.open(dir, opts, !whole, durable, space)
	if err != nil {
		return nil, openError(dir, opts.Engine, err)
	}
	if !whole {
		if err := claim(dir, opts.Engine); err != nil {
			return nil, errors.Join(openError(dir, opts.Engine, err), eng.Close())
		}
	}
	return store.New(eng, store.Options{Dir: dir, Space: space, Forgive: opts.Forgive, Damaged: opts.Damaged})
}

// openError says what an engine could not do.
func openError(dir, engine string, err error) error {
	switch {
	case isLocked(err):
		return fault.Of(store.ErrLocked, "another process has %s open", dir)
	case errors.Is(err, store.ErrCorrupt), errors.Is(err, store.ErrDiskFull):
		return err
	case fault.NoRoom(err):
		return store.DiskFull(dir)
	}
	return fmt.Errorf("open %s with %s: %w", dir, engine, err)
}

// OpenMemory opens an empty store in memory, for tests: pebble over its own
// memory file system. Nothing of it remains after Close.
func OpenMemory() (store.Store, error) {
	eng, err := pebblekv.OpenMemory()
	if err != nil {
		return nil, fmt.Errorf("open a store in memory: %w", err)
	}
	return store.New(eng, store.Options{})
}

// claim notes the engine of a store.
func claim(dir, text string) error {
	if err := durable.WriteFile(filepath.Join(dir, engineFile), []byte(text+"\n")); err != nil {
		return fmt.Errorf("write the store's engine: %w", err)
	}
	// The folder is new: a loss of power must not take it, and what is synced in it.
	if err := durable.Folder(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("sync the store's folder: %w", err)
	}
	return nil
}

// isLocked reports whether err is how an engine says that the directory is in
// use: by errno, or by text where the engine gives no more.
func isLocked(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EWOULDBLOCK) ||
		strings.Contains(err.Error(), "lock held by current process") ||
		strings.Contains(err.Error(), "Cannot acquire directory lock")
}
