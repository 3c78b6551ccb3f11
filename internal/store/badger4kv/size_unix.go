//go:build unix

package badger4kv

import (
	"io/fs"
	"syscall"
)

// taken returns the bytes that a file takes on disk.
func taken(fi fs.FileInfo) int64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512
	}
	return fi.Size()
}
