package verify

import (
	"slices"

	"github.com/weftdb/weft/internal/clock"
)

// Limits of what waits in memory for control records.
const (
	maxParkedBytes = 8 << 20
	maxParkedRuns  = 1024
)

// Parked are runs of logs that are not known to be a member's yet. They are in memory only:
// if they are lost, they are asked for again. The zero value has none.
type Parked struct {
	Runs []*Run
	size int
}

// Take empties the runs: those that still wait are parked again.
func (p *Parked) Take() []*Run {
	runs := p.Runs
	p.Runs, p.size = nil, 0
	return runs
}

// Has reports whether a run that ends in a record is there.
func (p *Parked) Has(last clock.RecordID) bool {
	return slices.ContainsFunc(p.Runs, func(o *Run) bool { return o.Records[len(o.Records)-1].ID == last })
}

// Full reports whether there is no room for a run.
func (p *Parked) Full(v *Run) bool {
	return len(p.Runs) >= maxParkedRuns || p.size+v.Size > maxParkedBytes
}

// Add keeps a run, whose bytes may alias a frame.
func (p *Parked) Add(v *Run) {
	for i := range v.Records {
		r := &v.Records[i].Raw
		r.Header, r.Body = slices.Clone(r.Header), slices.Clone(r.Body)
	}
	p.Runs = append(p.Runs, v)
	p.size += v.Size
}
