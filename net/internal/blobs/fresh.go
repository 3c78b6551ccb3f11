package blobs

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// freshFor is how long a blob that came from a peer stays, named or not: the record that
// names it travels on another stream. A restart between the two does not count as the end.
const freshFor = 10 * time.Minute

// maxFreshRuns bounds what is kept of them: beyond it two runs become one, with what is
// between them.
const maxFreshRuns = 64

// freshRuns are the numbers of blobs that came from peers, as runs in the order of
// their coming. In the store they are one row:
//
//	Fresh      (first number u64be ‖ last u64be ‖ Unix seconds when the first came u64be)…
type freshRuns []freshRun

type freshRun struct {
	first, last int64
	at          time.Time // when the first came
}

const freshSize = 3 * 8

// add notes number n, and forgets what is no longer fresh.
func (f *freshRuns) add(n int64, now time.Time) {
	for len(*f) > 0 && now.Sub((*f)[0].at) > freshFor+time.Minute {
		*f = (*f)[1:]
	}
	if k := len(*f) - 1; k >= 0 && (*f)[k].last+1 == n && now.Sub((*f)[k].at) < time.Minute {
		(*f)[k].last = n
		return
	}
	if *f = append(*f, freshRun{n, n, now}); len(*f) > maxFreshRuns {
		a, b := (*f)[0], (*f)[1]
		(*f)[1] = freshRun{min(a.first, b.first), max(a.last, b.last), b.at}
		*f = (*f)[1:]
	}
}

// has reports whether the blob with number n came lately.
func (f freshRuns) has(n int64, now time.Time) bool {
	return slices.ContainsFunc(f, func(r freshRun) bool { return r.first <= n && n <= r.last && now.Sub(r.at) <= freshFor+time.Minute })
}

// encode returns the row.
func (f freshRuns) encode() []byte {
	v := make([]byte, 0, len(f)*freshSize)
	for _, r := range f {
		for _, n := range []uint64{uint64(r.first), uint64(r.last), uint64(r.at.Unix())} {
			v = binary.BigEndian.AppendUint64(v, n)
		}
	}
	return v
}

// loadFresh reads the row. A time to come, of a clock that was ahead, counts as now: such a
// blob would stay until then.
func (s *Store) loadFresh(r store.Reader, now time.Time) error {
	v, err := r.Get(s.thread.Fresh)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil && len(v)%freshSize != 0 {
		err = fault.Of(format.ErrMalformed, "the note of blobs that came lately is cut short")
	}
	if err != nil {
		return err
	}
	s.fresh = nil
	for ; len(v) > 0 && len(s.fresh) < maxFreshRuns; v = v[freshSize:] {
		at := time.Unix(int64(binary.BigEndian.Uint64(v[16:])), 0)
		if at.After(now) {
			at = now
		}
		s.fresh = append(s.fresh, freshRun{int64(binary.BigEndian.Uint64(v)), int64(binary.BigEndian.Uint64(v[8:])), at})
	}
	return nil
}
