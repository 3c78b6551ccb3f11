//go:build unix

package adversary

import (
	"syscall"
	"testing"
	"time"
)

// cpuOf returns the processor time that all of the process used while f ran: on a machine
// with other work, how long f took says little.
func cpuOf(t testing.TB, f func()) time.Duration {
	t.Helper()
	used := func() time.Duration {
		var u syscall.Rusage
		must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	start := used()
	f()
	return used() - start
}
