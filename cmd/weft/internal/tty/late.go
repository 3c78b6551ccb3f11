package tty

import (
	"io"
	"time"
)

// endsWithin is how long a command may take to end after a signal.
const endsWithin = 9 * time.Second

// EndLate ends a process that a signal was to end and that has not ended some seconds
// later: a write to a pipe that nobody reads cannot be cut short. It is as after kill -9:
// what was acknowledged is on disk. If standard error is such a pipe, nothing is said.
func EndLate(stderr io.Writer, exit func(int)) {
	time.Sleep(endsWithin)
	said := make(chan struct{})
	go func() {
		defer close(said)
		_, _ = io.WriteString(stderr, "weft: interrupted, and nobody read what was printed: what was acknowledged before is kept\n")
	}()
	select {
	case <-said:
	case <-time.After(time.Second / 2):
	}
	exit(1)
}
