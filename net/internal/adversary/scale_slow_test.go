//go:build slow

package adversary

const (
	massJoins      = 10_000
	massLogs       = 15_000
	massIdentities = 2000
	massRecords    = 400
	forkedBytes    = 4 << 20
)
