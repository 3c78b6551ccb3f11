//go:build !slow

package adversary

import "time"

const patience = time.Minute

// Sizes of attacks by mass: the slow suite plays them whole.
const (
	massJoins      = 1000 // by a closed invite
	massBranches   = 400
	massLogs       = 500     // announced by one member
	massIdentities = 80      // strangers, one after the other
	massRecords    = 8       // of a mebibyte
	forkedBytes    = 4 << 20 // of a log that is forked
)
