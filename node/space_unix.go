//go:build unix

package node

import "golang.org/x/sys/unix"

// freeBytes returns how many bytes can be written to the disk that holds a folder;
// known is false where the system does not tell.
func freeBytes(dir string) (free int64, known bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true //nolint:unconvert // the types differ by system
}
