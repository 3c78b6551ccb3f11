//go:build slow

package adversary

import (
	"testing"
	"time"
)

// TestSlowAdversary plays the attacks at their sizes here.
func TestSlowAdversary(t *testing.T) { TestAdversary(t) }

const patience = 10 * time.Minute

const (
	massJoins      = 10_000
	massBranches   = 1000
	massLogs       = 15_000
	massIdentities = 2000
	massRecords    = 400
	forkedBytes    = 4 << 20
)
