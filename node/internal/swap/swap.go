// Package swap puts a repaired store in the place of a damaged one. Two folders cannot be
// exchanged at once, so a marker in the new one says that it is complete: a crash anywhere
// leaves either the damaged store as it was, or no store and a complete one beside it, which
// the next start takes.
package swap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weftdb/weft/internal/durable"
)

// A Swap names what takes part, in one folder.
type Swap struct {
	Dir      string // the folder
	Store    string // of a store
	Repaired string // of the one that is to take its place
	Marker   string // a file in the latter: it is complete
	Note     string // a file beside the store; the new one brings its own

	// Rename is nil for os.Rename.
	Rename func(old, to string) error
}

func (s *Swap) path(names ...string) string {
	return filepath.Join(append([]string{s.Dir}, names...)...)
}

func (s *Swap) rename(old, to string) error {
	if s.Rename != nil {
		return s.Rename(old, to)
	}
	return os.Rename(old, to)
}

// Complete writes the marker: from here on the new store is whole.
func (s *Swap) Complete() error {
	return wrap(durable.WriteFile(s.path(s.Repaired, s.Marker), nil))
}

// Exchange moves the old store to the path kept and the complete one to its place. If that
// fails, the old one is back in its place, or the next Finish goes on.
func (s *Swap) Exchange(kept string) error {
	if err := s.rename(s.path(s.Store), kept); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return wrap(err)
	}
	err := s.Finish()
	if err == nil {
		return nil
	}
	if _, none := os.Stat(s.path(s.Store)); errors.Is(none, fs.ErrNotExist) {
		err = errors.Join(err, wrap(s.rename(kept, s.path(s.Store)))) // or the next start takes the repaired one
	}
	return err
}

// Finish puts a complete store where there is no store, and its note in the place of the
// note. It does nothing if no exchange was cut short.
func (s *Swap) Finish() error {
	if _, err := os.Stat(s.path(s.Store)); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(s.path(s.Repaired, s.Marker)); err != nil {
			return nil //nolint:nilerr // there is none
		}
		if err := s.rename(s.path(s.Repaired), s.path(s.Store)); err != nil {
			return wrap(err)
		}
	}
	if _, err := os.Stat(s.path(s.Store, s.Marker)); err != nil {
		return nil //nolint:nilerr // it was not repaired, or long ago
	}
	err := s.rename(s.path(s.Store, s.Note), s.path(s.Note))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err = errors.Join(err, durable.Folder(s.Dir)); err == nil {
		err = os.Remove(s.path(s.Store, s.Marker))
	}
	return wrap(err)
}

func wrap(err error) error {
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	return nil
}
