package main

import "syscall"

// What a reader of standard output that goes away causes; there is no signal.
const (
	brokenPipe    = syscall.SIGPIPE
	errBrokenPipe = syscall.Errno(232) // ERROR_NO_DATA
)
