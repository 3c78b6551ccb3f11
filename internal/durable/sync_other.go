//go:build !linux

package durable

import "os"

// syncFileSystem has no counterpart here.
func syncFileSystem(*os.File) (done bool, err error) { return false, nil }
