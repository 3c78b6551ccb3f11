//go:build !windows

package fault

import "syscall"

var noRoom = []error{syscall.ENOSPC, syscall.EDQUOT}
