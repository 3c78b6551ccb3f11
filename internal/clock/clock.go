// Package clock is the hybrid logical clock of a node and the total order that
// it gives to operations.
//
//	Time ── Stamp           when, and the total order of operations
//	LogID ── Hash ── RecordID   which record of which log
//
// A [Clock] is safe for concurrent use; everything else is a plain value.
package clock

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/weftdb/weft/internal/fault"
)

// MaxAhead is how far ahead of real time a record's clock may be before the
// record waits.
const MaxAhead = 5 * time.Minute

// Slack is how much further ahead own times may be: the wall clock was set back a little
// after a time at the limit was observed. What is beyond would wait long at every other
// device.
const Slack = time.Minute

// MaxTime is the last time that a record can have: the end of the year 9999, beyond
// which dates have no common text form. A later one is no time.
const MaxTime Time = 253402300800000<<16 - 1

// ErrAhead reports a time more than [MaxAhead] ahead of real time.
var ErrAhead = fault.New(fault.ClockAhead, "the time is more than five minutes ahead")

// A Time is a hybrid logical clock reading: the upper 48 bits are milliseconds
// since the Unix epoch, the lower 16 bits a counter within the millisecond.
type Time uint64

// At returns the earliest Time of the millisecond that holds t.
func At(t time.Time) Time { return Time(uint64(t.UnixMilli()) << 16) }

// Wall returns the wall clock part of t, in UTC, to the millisecond.
func (t Time) Wall() time.Time { return time.UnixMilli(int64(t >> 16)).UTC() }

// A LogID names a log: the hash of its descriptor.
type LogID [32]byte

// String returns the ID in lower-case hexadecimal.
func (id LogID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first eight hexadecimal digits, for people.
func (id LogID) Short() string { return hex.EncodeToString(id[:4]) }

// A Hash is the SHA-256 hash of a record or another signed object.
type Hash [32]byte

// String returns the hash in lower-case hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h is the zero hash, which names no record.
func (h Hash) IsZero() bool { return h == Hash{} }

// A RecordID names one record: its log, its position (from 1) and its hash.
// Two records of a forked log share a log and a position and differ in hash.
type RecordID struct {
	Log  LogID
	Seq  uint64
	Hash Hash
}

// String returns the ID for people: log, position and hash, shortened.
func (id RecordID) String() string {
	return fmt.Sprintf("%s/%d@%s", id.Log.Short(), id.Seq, hex.EncodeToString(id.Hash[:4]))
}

// A Stamp places an operation in the total order in which every replica folds.
// It extends causality because clocks strictly increase along a log and exceed
// the clocks of what its writer had seen.
type Stamp struct {
	Time  Time
	Log   LogID
	Hash  Hash   // of the record
	Index uint32 // of the operation in its record
}

// Compare returns -1, 0 or +1 as s comes before, is, or comes after o.
func (s Stamp) Compare(o Stamp) int {
	if c := cmp.Compare(s.Time, o.Time); c != 0 {
		return c
	}
	if c := bytes.Compare(s.Log[:], o.Log[:]); c != 0 {
		return c
	}
	if c := bytes.Compare(s.Hash[:], o.Hash[:]); c != 0 {
		return c
	}
	return cmp.Compare(s.Index, o.Index)
}

// A Clock gives strictly increasing times that exceed every time observed, as long as the
// wall clock is not set back by minutes. The zero value reads time.Now.
//
//	wall 12:00:00   Observe 12:05:00   Now 12:05:00.000+1, 12:05:00.000+2, … until the wall is there
//	wall 11:30:00   Now 11:30:00       it was set back: nobody would take 12:05 before it is 12:00
type Clock struct {
	// Wall is the real-time source; nil means time.Now. It must not be changed
	// once the clock is in use.
	Wall func() time.Time

	mu   sync.Mutex // guards last
	last Time
}

// Now returns a time later than every time that c has returned or observed. Where that
// would be more than [MaxAhead] and [Slack] ahead of real time, the wall clock was set
// back, and times begin again with it.
func (c *Clock) Now() Time {
	wall := c.wall()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last++; c.last < At(wall) || c.last > At(wall.Add(MaxAhead+Slack)) {
		c.last = At(wall)
	}
	return c.last
}

// Observe makes every later [Clock.Now] exceed t. A t that is too far ahead of
// real time changes nothing and returns [ErrAhead].
func (c *Clock) Observe(t Time) error {
	if err := c.Check(t); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last, t)
	return nil
}

// Check returns [ErrAhead] if t is more than [MaxAhead] ahead of real time.
func (c *Clock) Check(t Time) error {
	if t>>16 > At(c.wall().Add(MaxAhead))>>16 { // whatever the counter: the next time is no further ahead
		return ErrAhead
	}
	return nil
}

// Until returns how long it takes from now until t is at most [MaxAhead] ahead of
// real time: 0 if it is so now, at most a century for what is further.
func (c *Clock) Until(t Time) time.Duration {
	const century = 100 * 365 * 24 * time.Hour
	// In milliseconds: neither the difference nor a sum with it overflows.
	ms := int64(t>>16) - c.wall().Add(MaxAhead).UnixMilli()
	if ms >= century.Milliseconds() {
		return century
	}
	return time.Duration(max(ms, 0)) * time.Millisecond
}

// Real returns the time of the wall clock, which no other device moves.
func (c *Clock) Real() Time { return At(c.wall()) }

func (c *Clock) wall() time.Time {
	if c.Wall != nil {
		return c.Wall()
	}
	return time.Now()
}
