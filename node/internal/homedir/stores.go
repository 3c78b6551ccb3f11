package homedir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weftdb/weft/internal/durable"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/node/internal/swap"
)

// The names of stores beside the store.
const (
	DirRepaired  = "store.repaired" // one that a repair makes
	DirDamaged   = "store.damaged-" // ‖ time; one whose place a repaired one took
	fileRepaired = "REPAIRED"       // in a repaired store that is complete
)

// CloneStore makes a store of its own that has what the home's has, with a copy of the
// note, and returns its folder in the home. Tables are never written again: they are
// shared where that can be.
func (h *Home) CloneStore() (dir string, err error) {
	to, err := h.Temp()
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("repair: check a copy of the store: %w", err), os.RemoveAll(to))
		}
	}()
	if dir, err = filepath.Rel(h.dir, to); err != nil {
		return "", err
	}
	err = filepath.WalkDir(h.Path(DirStore), func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(h.Path(DirStore), name)
		if err != nil {
			return err
		}
		switch at := filepath.Join(to, rel); {
		case e.IsDir():
			return os.MkdirAll(at, 0o700)
		case rel == store.ReserveFile || rel == fileLock || rel == fileRepaired:
			return nil
		case filepath.Ext(rel) == ".sst" && os.Link(name, at) == nil:
			return nil
		default:
			return copyFile(at, name)
		}
	})
	switch {
	case fault.NoRoom(err):
		return "", store.DiskFull(h.dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	return dir, h.CopyNote(dir)
}

// copyFile copies into a file that is not there yet. It does not sync: what is copied is
// only looked at.
func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// CopyNote puts a copy of the note into a store beside the home's: it says of the
// databases what will be so when that is the home's.
func (h *Home) CopyNote(dir string) error {
	b, err := os.ReadFile(h.Path(FileNote))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = durable.WriteFile(h.Path(dir, FileNote), b)
	}
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	return nil
}

// FreePath returns the path of a name, with a number if something has it.
func (h *Home) FreePath(name string) string {
	path := h.Path(name)
	for i := 2; ; i++ {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return path
		}
		path = h.Path(fmt.Sprintf("%s-%d", name, i))
	}
}

// Swap is how a repaired store takes the place of the home's.
func (h *Home) Swap() *swap.Swap {
	return &swap.Swap{Dir: h.dir, Store: DirStore, Repaired: DirRepaired, Marker: fileRepaired, Note: FileNote}
}

// CheckRoom returns an error if the disk has no room for another store.
func (h *Home) CheckRoom() error {
	var size int64
	err := filepath.WalkDir(h.Path(DirStore), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("repair: %w", err)
	}
	free, known := store.Free(h.dir)
	if need := size + size/4 + 16<<20; known && free < need {
		return fault.Of(ErrNoRoom, "a repair writes the store anew and needs %d MiB on the disk that holds %s, which has %d: free some space", need>>20, h.dir, free>>20)
	}
	return nil
}
