package store

import "golang.org/x/sys/windows"

// diskSpace returns the bytes that the user may still write to the disk of dir, and
// the size of the disk.
func diskSpace(dir string) (free, total uint64, ok bool) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, false
	}
	err = windows.GetDiskFreeSpaceEx(name, &free, &total, nil)
	return free, total, err == nil
}
