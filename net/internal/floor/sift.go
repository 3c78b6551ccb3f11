package floor

import (
	"github.com/weftdb/weft/internal/clock"
)

// A Sifted says which of the records of a log that are held count.
type Sifted struct {
	Heads  map[clock.Hash]clock.RecordID // of the tips that were asked for and count: the head that they descend from, or are
	Kept   []clock.Single                // count, up to the top of the floor
	Beside []clock.Single                // do not, above it
}

// Sift sorts the records of a log that lie above the lowest head, which each gives by their
// positions with the hash of the record before. It remembers those of two positions.
func (f Floor) Sift(tips []clock.RecordID, each func(record func(id clock.RecordID, prev clock.Hash) error) error) (Sifted, error) {
	out := Sifted{Heads: map[clock.Hash]clock.RecordID{}}
	asked := make(map[clock.Hash]bool, len(tips))
	for _, t := range tips {
		if asked[t.Hash] = true; f.Has(t) {
			out.Heads[t.Hash] = t
		}
	}
	heads := make(map[clock.Hash]clock.RecordID, len(f))
	for _, h := range f {
		heads[h.Hash] = h
	}
	top, seq := f.Top(), uint64(0)
	var before, now map[clock.Hash]clock.RecordID // what counts at the position before, and at seq
	err := each(func(id clock.RecordID, prev clock.Hash) error {
		if id.Seq != seq {
			before, now = now, map[clock.Hash]clock.RecordID{}
			if id.Seq != seq+1 {
				before = nil
			}
			seq = id.Seq
		}
		from, counts := before[prev]
		if h, is := heads[prev]; is && h.Seq == id.Seq-1 && !counts {
			from, counts = h, true
		}
		switch {
		case counts:
			now[id.Hash] = from
			if asked[id.Hash] {
				out.Heads[id.Hash] = from
			}
			if id.Seq <= top {
				out.Kept = append(out.Kept, clock.Single{Seq: id.Seq, Hash: id.Hash})
			}
		case id.Seq > top:
			out.Beside = append(out.Beside, clock.Single{Seq: id.Seq, Hash: id.Hash})
		}
		return nil
	})
	return out, err
}
