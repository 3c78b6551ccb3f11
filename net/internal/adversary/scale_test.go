//go:build !slow

package adversary

import "time"

const patience = time.Minute

// Sizes of attacks by mass: the slow suite plays them whole.
const (
	massJoins      = 1000    // by a closed invite
	massLogs       = 1000    // announced by one member
	massIdentities = 80      // strangers, one after the other
	massRecords    = 16      // of a mebibyte
	forkedBytes    = 4 << 20 // of a log that is forked
)
