//go:build linux || darwin || freebsd

package store

import "golang.org/x/sys/unix"

// diskSpace returns the bytes that the user may still write to the disk of dir, and
// the size of the disk.
func diskSpace(dir string) (free, total uint64, ok bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, false
	}
	size := uint64(st.Bsize)
	return uint64(st.Bavail) * size, uint64(st.Blocks) * size, true
}
