package fault

import "syscall"

// ERROR_DISK_FULL, ERROR_HANDLE_DISK_FULL, ERROR_DISK_QUOTA_EXCEEDED
var noRoom = []error{syscall.ENOSPC, syscall.Errno(112), syscall.Errno(39), syscall.Errno(1295)}
