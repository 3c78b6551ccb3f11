// Package sizes tells how many bytes the files of a folder have.
package sizes

import (
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"time"
)

// holds is how long a measured size is told again: to measure takes a look at each file.
const holds = 10 * time.Second

// A Folder is how many bytes the files in a folder have. The zero value is ready.
type Folder struct {
	mu    sync.Mutex // guards the fields below
	at    time.Time
	bytes int64
}

// Of returns the bytes of the files in dir, always the same folder, as of at most 10 s before
// now. A folder that is not there has none.
func (s *Folder) Of(dir string, now time.Time) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if age := now.Sub(s.at); age >= 0 && age < holds {
		return s.bytes, nil
	}
	total := int64(0)
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				total += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) { // there are none, or it was deleted meanwhile
			return nil
		}
		return err
	})
	if err == nil {
		s.at, s.bytes = now, total
	}
	return total, err
}
