package wire

import (
	"slices"
	"testing"

	"github.com/weftdb/weft/internal/clock"
)

// Parts are all tips in order, none of a log apart from the log's others, and fit.
func TestParts(t *testing.T) {
	var tips []clock.RecordID
	for i, branches := range []int{1, 1, 3, 1, 5, 2, 1} {
		for n := range branches {
			tips = append(tips, clock.RecordID{Log: clock.LogID{byte(i)}, Seq: uint64(n + 1)})
		}
	}
	for most := 1; most <= len(tips)+1; most++ {
		parts := Parts(tips, most)
		if !slices.Equal(slices.Concat(parts...), tips) {
			t.Fatalf("at most %d: %v is not all", most, parts)
		}
		for i, p := range parts {
			if len(p) == 0 || i > 0 && parts[i-1][len(parts[i-1])-1].Log == p[0].Log || len(p) > most && p[0].Log != p[len(p)-1].Log {
				t.Errorf("at most %d: part %d is %v", most, i, p)
			}
		}
	}
	if parts := Parts(nil, 3); len(parts) != 1 || len(parts[0]) != 0 {
		t.Errorf("of nothing: %v", parts)
	}
	full := make([]Tip, TipsPerFrame)
	for i := range full {
		full[i] = Tip{Log: make([]byte, 32), Seq: 1 << 62, Hash: make([]byte, 32)}
	}
	for _, m := range []Message{Subscribe{Thread: make([]byte, 32), Invite: make([]byte, 32), Proof: make([]byte, 64), Tips: full}, Ack{Tips: full}} {
		if n := len(Encode(m)); n > MaxSubscribe-16 {
			t.Errorf("%v has %d bytes", m.Kind(), n)
		}
	}
}
