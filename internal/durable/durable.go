// Package durable makes files and folders survive power loss, many at once.
package durable

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"

	"github.com/weftdb/weft/internal/parallel"
)

// few is how many files are synced one by one: a sync of the file system costs
// as much as some of these, and waits for what others wrote.
const few = 16

// atOnce is how many syncs are under way; a disk takes them together.
const atOnce = 8

// Sync makes n files or folders of one file system durable. It opens them by
// open, in any order and from several goroutines, and closes them.
func Sync(n int, open func(i int) (*os.File, error)) error {
	if n > few {
		f, err := open(0)
		if err != nil {
			return err
		}
		done, err := syncFileSystem(f)
		if err = errors.Join(err, f.Close()); err != nil || done {
			return err
		}
	}
	errs := make([]error, n)
	parallel.DoBy(atOnce, n, func(i int) {
		f, err := open(i)
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		errs[i] = err
	})
	return errors.Join(errs...)
}

// Folder makes the names in a folder durable, where folders can be synced.
func Folder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// WriteFile replaces a file by one with mode 0600, durably and at once.
func WriteFile(path string, b []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return Folder(dir)
}

// Overwrite writes b at the beginning of a file, making one with mode 0600 if there is
// none. A file that was as long before needs no room on the disk. It is not durable.
func Overwrite(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	return errors.Join(err, f.Close())
}
