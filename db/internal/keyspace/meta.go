package keyspace

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// Meta is what a database knows about itself. Each commit writes what it
// changed into one of 256 slots; the whole is written now and then, so that
// Open reads little and a small commit writes little.
//
//	gen 1000  M      whole: counts and hash as of 1000
//	gen 1001  m e9   counts, and the seeds of what it changed
//	gen 1255  M      whole again, before a slot that is still needed is written over
//
// Invariant: the slots of the generations after the whole are all there, each written
// by the transaction whose changes it names; so the whole and they are the state.
type Meta struct {
	Gen     uint64               // commits
	Cursor  int64                // every arrival up to it is folded
	Ahead   []Span               // own records after the cursor that are folded, in order
	Refused int64                // refused operations
	Gaps    int64                // how often the fold changed more of a collection than its records name
	Stats   map[uint32]CollStats // by number of a collection or a unique index; replaced, never changed
	Hash    *lthash.State        // as of the last whole write; immutable
	Pending []lthash.Delta       // of the state hash, since Hash
	whole   uint64               // gen of the last whole write
}

// A Span is a range of arrivals, both ends included.
type Span struct{ First, Last int64 }

// Copy returns a copy for one batch, which is dropped if the batch is.
func (m *Meta) Copy() Meta {
	c := *m
	c.Ahead = slices.Clone(m.Ahead)
	return c
}

// Folded moves the cursor over the arrivals of s, or keeps them as ahead of it.
//
//	cursor 4, Folded(7–8)   cursor 4, ahead 7–8     own records, while 5 and 6 wait
//	Folded(5–6)             cursor 8, none ahead
func (m *Meta) Folded(s Span) {
	if s.First > m.Cursor+1 {
		if k := len(m.Ahead); k > 0 && m.Ahead[k-1].Last+1 == s.First {
			m.Ahead[k-1].Last = s.Last
		} else {
			m.Ahead = append(m.Ahead, s)
		}
		return
	}
	m.Cursor = max(m.Cursor, s.Last)
	for len(m.Ahead) > 0 && m.Ahead[0].First <= m.Cursor+1 {
		m.Cursor = max(m.Cursor, m.Ahead[0].Last)
		m.Ahead = m.Ahead[1:]
	}
}

// IsAhead reports whether the record at arrival n is folded ahead of the cursor.
func (m *Meta) IsAhead(n int64) bool { return IsAhead(m.Ahead, n) }

// IsAhead reports whether one of the spans holds n.
func IsAhead(ahead []Span, n int64) bool {
	_, ok := slices.BinarySearchFunc(ahead, n, func(s Span, n int64) int {
		switch {
		case s.Last < n:
			return -1
		case s.First > n:
			return 1
		}
		return 0
	})
	return ok
}

const (
	slots      = 256
	maxPending = 512 // changes between whole writes, which bounds Open
	maxSlot    = 64  // changes that are cheaper as seeds than as a whole write
)

// MetaChange is what one commit changes in the meta data.
type MetaChange struct {
	Stats  map[uint32]CollStats // what changes, whole
	Deltas []lthash.Delta       // of the state hash
}

// Save writes the next generation, with what c changes, into tx: into a slot, or
// the whole if there is much of it.
func (m *Meta) Save(tx store.Tx, sp Space, c MetaChange) error {
	m.Gen++
	head := binary.BigEndian.AppendUint64(make([]byte, 0, 64+len(c.Deltas)*33), m.Gen)
	head = Uvarints(head, uint64(m.Cursor), uint64(m.Refused), uint64(m.Gaps), uint64(len(m.Ahead)))
	for _, s := range m.Ahead {
		head = Uvarints(head, uint64(s.First), uint64(s.Last))
	}
	if len(c.Stats) > 0 {
		m.Stats = maps.Clone(m.Stats)
		maps.Copy(m.Stats, c.Stats)
	}
	whole := len(c.Deltas) > maxSlot || len(m.Pending)+len(c.Deltas) > maxPending || m.Gen-m.whole >= slots-1
	if !whole {
		m.Pending = append(m.Pending[:len(m.Pending):len(m.Pending)], c.Deltas...)
		body := appendStats(head, c.Stats)
		for _, d := range c.Deltas {
			sign := byte(0)
			if d.Remove {
				sign = 1
			}
			body = append(append(body, sign), d.Seed[:]...)
		}
		return tx.Put(sp.Key(tagSlot, []byte{byte(m.Gen % slots)}), body)
	}
	h := *m.Hash
	h.Apply(m.Pending)
	h.Apply(c.Deltas)
	m.Hash, m.Pending, m.whole = &h, nil, m.Gen
	return tx.Put(sp.Key(tagMeta), h.Append(appendStats(head, m.Stats)))
}

// Sum returns the state hash.
func (m *Meta) Sum() clock.Hash {
	h := *m.Hash
	h.Apply(m.Pending)
	return h.Sum()
}

func appendStats(dst []byte, stats map[uint32]CollStats) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(stats)))
	for _, n := range slices.Sorted(maps.Keys(stats)) {
		s := stats[n]
		dst = Uvarints(dst, uint64(n), uint64(s.Docs))
		dst = binary.BigEndian.AppendUint64(dst, uint64(s.MaxTime))
	}
	return dst
}

func (m *Meta) parse(b []byte) (rest []byte, stats map[uint32]CollStats, err error) {
	s := Scanner{B: b}
	m.Gen = s.U64()
	m.Cursor, m.Refused, m.Gaps = int64(s.Uvarint()), int64(s.Uvarint()), int64(s.Uvarint())
	m.Ahead = nil
	for range min(s.Uvarint(), uint64(len(b))) {
		m.Ahead = append(m.Ahead, Span{int64(s.Uvarint()), int64(s.Uvarint())})
	}
	stats = map[uint32]CollStats{}
	for range min(s.Uvarint(), uint64(len(b))) {
		n := uint32(s.Uvarint())
		stats[n] = CollStats{Docs: int64(s.Uvarint()), MaxTime: clock.Time(s.U64())}
	}
	if s.Bad {
		return nil, nil, ErrCorrupt
	}
	return s.B, stats, nil
}

// LoadMeta reads the last whole write and the slots after it.
func LoadMeta(r store.Reader, sp Space) (m Meta, err error) {
	m = Meta{Stats: map[uint32]CollStats{}, Hash: &lthash.State{}}
	v, err := r.Get(sp.Key(tagMeta))
	if err == nil {
		rest, stats, err := m.parse(v)
		var h lthash.State
		if err != nil || !h.Parse(rest) {
			return m, ErrCorrupt
		}
		m.Stats, m.Hash, m.whole = stats, &h, m.Gen
	} else if !errors.Is(err, store.ErrNotFound) {
		return m, err
	}
	var later [][]byte
	it := r.Iterate(store.Prefix(sp.Key(tagSlot)))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return m, err
		}
		if len(v) < 8 {
			return m, ErrCorrupt
		}
		if binary.BigEndian.Uint64(v) > m.whole {
			later = append(later, slices.Clone(v))
		}
	}
	if err := it.Err(); err != nil {
		return m, err
	}
	slices.SortFunc(later, slices.Compare)
	for _, v := range later {
		rest, stats, err := m.parse(v)
		if err != nil || len(rest)%33 != 0 {
			return m, ErrCorrupt
		}
		maps.Copy(m.Stats, stats)
		for ; len(rest) > 0; rest = rest[33:] {
			m.Pending = append(m.Pending, lthash.Delta{Seed: lthash.Seed(rest[1:33]), Remove: rest[0] == 1})
		}
	}
	return m, nil
}
