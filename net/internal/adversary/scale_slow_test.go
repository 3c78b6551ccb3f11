//go:build slow

package adversary

import "time"

const patience = 10 * time.Minute

const (
	massJoins      = 10_000
	massLogs       = 15_000
	massIdentities = 2000
	massRecords    = 400
	forkedBytes    = 4 << 20
)
