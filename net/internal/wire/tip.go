package wire

import (
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/format"
)

// A Tip is a record ID on the wire.
type Tip struct {
	_    struct{} `cbor:",toarray"`
	Log  []byte
	Seq  uint64
	Hash []byte
}

// FromTips returns tips as they are sent.
func FromTips(tips []clock.RecordID) []Tip {
	w := make([]Tip, len(tips))
	for i, t := range tips {
		w[i] = Tip{Log: append([]byte(nil), t.Log[:]...), Seq: t.Seq, Hash: append([]byte(nil), t.Hash[:]...)}
	}
	return w
}

// TipsPerFrame is how many tips one message names, so that it stays below
// [MaxSubscribe]. What is more goes in further ones.
const TipsPerFrame = 10_000

// Parts divides tips into parts of at most most, between two logs, whose tips are next to each
// other: who reads one takes it for all branches of the logs that it names. There is at least one part.
func Parts(tips []clock.RecordID, most int) (parts [][]clock.RecordID) {
	for len(tips) > most {
		n := most
		for n > 0 && tips[n-1].Log == tips[n].Log {
			n--
		}
		if n == 0 { // a log with more branches than that
			for n = most; n < len(tips) && tips[n-1].Log == tips[n].Log; {
				n++
			}
		}
		parts, tips = append(parts, tips[:n]), tips[n:]
	}
	return append(parts, tips)
}

// Tips is the inverse of [FromTips]. It checks their form; what they name need not
// exist.
func Tips(w []Tip) ([]clock.RecordID, error) {
	tips := make([]clock.RecordID, len(w))
	for i, t := range w {
		if len(t.Log) != 32 || len(t.Hash) != 32 || t.Seq == 0 {
			return nil, fault.Of(ErrFrame, "tip %d is malformed", i)
		}
		tips[i] = clock.RecordID{Log: clock.LogID(t.Log), Seq: t.Seq, Hash: clock.Hash(t.Hash)}
	}
	return tips, nil
}

// ThreadOf returns the thread ID in a message.
func ThreadOf(p []byte) (format.ThreadID, error) {
	if len(p) != 32 {
		return format.ThreadID{}, fault.Of(ErrFrame, "thread ID of %d bytes", len(p))
	}
	return format.ThreadID(p), nil
}
