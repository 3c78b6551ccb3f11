package cut

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
