package homenote

import (
	"fmt"
	"time"

	"github.com/weftdb/weft/net"
)

// How a database came to be served with less than what was written.
const (
	None    = iota // what was lost has come back
	GivenUp        // somebody took it as it was
	Gone           // a repair found the rest nowhere
	Maybe          // a repair could not tell whether its last records are there
)

// listedFor is how long lists of databases show a loss. A check shows it as long as the
// note has it.
const listedFor = 30 * 24 * time.Hour

// A Loss is what of a database was not there when it was served again.
type Loss struct {
	_       struct{} `cbor:",toarray"`
	Thread  net.ThreadID
	When    uint64 // seconds since 1970
	How     uint64
	Records uint64 // of this device that were noted and are not here
	Heads   []Head // of these; when all are held again the loss is forgotten
}

func (l *Loss) String() string {
	if l == nil {
		return ""
	}
	day := time.Unix(int64(l.When), 0).UTC().Format(time.DateOnly)
	switch l.How {
	case GivenUp:
		return fmt.Sprintf("taken as it was on %s, %s abandoned", day, RecordsText(l.Records))
	case Gone:
		return fmt.Sprintf("repaired on %s, %s lost", day, RecordsText(l.Records))
	}
	return fmt.Sprintf("repaired on %s, may have lost its last records", day)
}

// RecordsText says how many records there are.
func RecordsText(n uint64) string {
	if n == 1 {
		return "1 record"
	}
	return fmt.Sprintf("%d records", n)
}

// Listed returns what lists of databases say of a loss, "" if nothing.
func (l *Loss) Listed() string {
	if l == nil || time.Since(time.Unix(int64(l.When), 0)) > listedFor {
		return ""
	}
	return l.String()
}
