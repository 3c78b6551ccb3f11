//go:build unix

package main

import "syscall"

// What a reader of standard output that goes away causes.
const (
	brokenPipe    = syscall.SIGPIPE
	errBrokenPipe = syscall.EPIPE
)
