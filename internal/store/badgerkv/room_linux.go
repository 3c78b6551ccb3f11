package badgerkv

import (
	"os"
	"syscall"

	"github.com/weftdb/weft/internal/fault"
)

const keepSize = 1 // FALLOC_FL_KEEP_SIZE

// allocate takes room on the disk for a file up to an end, without changing its size.
// A file system that cannot is no error.
func allocate(name string, from, size int64) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syscall.Fallocate(int(f.Fd()), keepSize, from, size); fault.NoRoom(err) {
		return err
	}
	return nil
}
