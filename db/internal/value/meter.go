package value

// A Meter bounds the work of judging one operation, which every replica does again: in
// bytes that are walked over, or what takes as long. It counts and reads no clock, so
// that it ends at the same place everywhere. A nil Meter has no bound.
type Meter struct {
	// Left is what may still be done; negative once it was not enough.
	Left int
}

// MeterTick is what about a tenth of a microsecond is, in bytes walked over.
const MeterTick = 256

// Spend counts n bytes and reports whether the work may go on.
func (m *Meter) Spend(n int) bool {
	if m == nil {
		return true
	}
	m.Left -= n
	return m.Left >= 0
}

// Empty reports whether the work was more than allowed.
func (m *Meter) Empty() bool { return m != nil && m.Left < 0 }

// Count returns how many elements a document has, those of documents and arrays in it
// included.
func Count(doc []byte) (n int) {
	it := Elements(doc)
	for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
		n++
		if v.IsDoc() || v.IsArray() {
			n += Count(v.Data)
		}
	}
	return n
}

// Ticks returns how many ticks are left, at most most.
func (m *Meter) Ticks(most int) int {
	if m == nil {
		return most
	}
	return max(0, min(most, m.Left/MeterTick))
}

// Exhaust has the work end: a part of it was cut short.
func (m *Meter) Exhaust() {
	if m != nil {
		m.Left = -1
	}
}
