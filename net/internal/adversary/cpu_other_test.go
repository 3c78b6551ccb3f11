//go:build !unix

package adversary

import (
	"testing"
	"time"
)

// cpuOf returns how long f took.
func cpuOf(_ testing.TB, f func()) time.Duration { return timeOf(f) }
