package cut

import (
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/internal/store"
)

// Arrivals is a set of arrival numbers. A nil one is empty.
type Arrivals struct{ words []uint64 }

// Has reports whether n is in the set.
func (s *Arrivals) Has(n int64) bool {
	return s != nil && int(n>>6) < len(s.words) && s.words[n>>6]&(1<<(n&63)) != 0
}

// Add puts n into the set.
func (s *Arrivals) Add(n int64) {
	for int(n>>6) >= len(s.words) {
		s.words = append(s.words, 0)
	}
	s.words[n>>6] |= 1 << (n & 63)
}

// Under returns the operations of arrivals of the set that keys under prefix p name.
func (s *Arrivals) Under(r store.Reader, p []byte) (found []keyspace.Ref, err error) {
	it := r.Iterate(store.Range{Lower: p, Upper: store.PrefixEnd(p), KeysOnly: true})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		k := keyspace.Scanner{B: it.Key()[len(p):]}
		if ref := k.Ref(); s.Has(ref.N) {
			found = append(found, ref)
		}
	}
	return found, it.Err()
}
