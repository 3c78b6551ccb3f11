package store

import (
	"context"
	"time"
)

// A Damage is a place on disk that does not hold what was written there.
type Damage struct {
	File string // path of the file that is damaged or missing; the store's folder if no file can be named
	// Lower and Upper bound the keys that it touches, Lower <= k < Upper. Both nil:
	// they are not known, it may be all.
	Lower, Upper []byte
	Err          error // of kind corrupt: one sentence that names the file
}

// Touches reports whether a damage may hold keys that begin with prefix.
func (d Damage) Touches(prefix []byte) bool {
	if d.Lower == nil && d.Upper == nil {
		return true
	}
	end := PrefixEnd(prefix)
	return (d.Upper == nil || compare(prefix, d.Upper) < 0) && (end == nil || compare(d.Lower, end) < 0)
}

// A pacer keeps reading at a rate.
type pacer struct {
	ctx   context.Context //nolint:containedctx // of the one Verify that it paces
	rate  int64           // bytes a second; 0 means any
	begin time.Time
	read  int64
}

// pause is told how many bytes were read and waits until the next may be.
func (p *pacer) pause(n int) error {
	p.read += int64(n)
	if err := p.ctx.Err(); err != nil || p.rate <= 0 {
		return err
	}
	due := time.Duration(float64(p.read) / float64(p.rate) * float64(time.Second))
	wait := time.NewTimer(due - time.Since(p.begin))
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}
