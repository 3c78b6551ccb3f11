package journal

import "slices"

// What folding again reads of the journal: the records that come next are read
// together.
const (
	maxReadAhead      = 256
	maxReadAheadBytes = 1 << 20
)

// ReadAhead reads the record that arrived as number n into a cache, and with it some that
// are asked for next, next(i) for 0 < i < k, 0 for none, unless held has them. put has each
// stand where it does.
func ReadAhead(j Journal, c *Cache, held func(n int64) *Record, put func(*Record), n int64, k int, next func(i int) int64) (*Record, error) {
	ns := []int64{n}
	for i := 1; i < min(k, maxReadAhead); i++ {
		if m := next(i); m != 0 && m != ns[len(ns)-1] && held(m) == nil {
			ns = append(ns, m)
		}
	}
	if len(ns) == 1 {
		r, err := Read(j, n)
		if err == nil {
			put(r)
			c.Add(r)
		}
		return r, err
	}
	as, err := j.Read(ns, maxReadAheadBytes)
	if err != nil {
		return nil, err
	}
	recs := DecodeAll(as, false)
	for _, r := range slices.Backward(recs) { // what is asked for first is to stay longest
		put(r)
		c.Add(r)
	}
	if len(recs) > 0 && recs[0].N == n {
		return recs[0], nil
	}
	r, err := Read(j, n)
	if err == nil {
		put(r)
	}
	return r, err
}
