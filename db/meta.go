package db

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// meta is what a database knows about itself. Each commit writes what it
// changed into one of 256 slots; the whole is written now and then, so that
// Open reads little and a small commit writes little.
type meta struct {
	gen     uint64 // commits
	cursor  int64  // every arrival up to it is folded
	ahead   []span // own records after the cursor that are folded, in order
	refused int64
	gaps    int64
	stats   map[uint32]collStats
	hash    *lthash.State // as of the last whole write; immutable
	pending []lthash.Delta
	whole   uint64 // gen of the last whole write
}

// A span is a range of arrivals, both ends included.
type span struct{ first, last int64 }

func (m *meta) copy() meta {
	c := *m
	c.ahead = slices.Clone(m.ahead)
	return c
}

// folded moves the cursor over the arrivals of s, or keeps them as ahead of it.
func (m *meta) folded(s span) {
	if s.first > m.cursor+1 {
		if k := len(m.ahead); k > 0 && m.ahead[k-1].last+1 == s.first {
			m.ahead[k-1].last = s.last
		} else {
			m.ahead = append(m.ahead, s)
		}
		return
	}
	m.cursor = max(m.cursor, s.last)
	for len(m.ahead) > 0 && m.ahead[0].first <= m.cursor+1 {
		m.cursor = max(m.cursor, m.ahead[0].last)
		m.ahead = m.ahead[1:]
	}
}

func (m *meta) isAhead(n int64) bool { return isAhead(m.ahead, n) }

func isAhead(ahead []span, n int64) bool {
	return slices.ContainsFunc(ahead, func(s span) bool { return s.first <= n && n <= s.last })
}

const (
	slots      = 256
	maxPending = 512 // changes between whole writes, which bounds Open
	maxSlot    = 64  // changes that are cheaper as seeds than as a whole write
)

// save writes the batch's changes of the meta data into its transaction.
func (b *batch) save() error {
	if err := b.saveGaps(); err != nil {
		return err
	}
	if err := b.saveCatalog(); err != nil {
		return err
	}
	m := &b.meta
	m.gen++
	head := binary.BigEndian.AppendUint64(make([]byte, 0, 64+len(b.deltas)*33), m.gen)
	head = uvarints(head, uint64(m.cursor), uint64(m.refused), uint64(m.gaps), uint64(len(m.ahead)))
	for _, s := range m.ahead {
		head = uvarints(head, uint64(s.first), uint64(s.last))
	}
	if len(b.stats) > 0 {
		m.stats = maps.Clone(m.stats)
		maps.Copy(m.stats, b.stats)
	}
	whole := len(b.deltas) > maxSlot || len(m.pending)+len(b.deltas) > maxPending || m.gen-m.whole >= slots-1
	if !whole {
		m.pending = append(m.pending[:len(m.pending):len(m.pending)], b.deltas...)
		b.deltas = nil
		body := appendStats(head, b.stats)
		for _, d := range m.pending[len(b.db.meta.pending):] {
			sign := byte(0)
			if d.Remove {
				sign = 1
			}
			body = append(append(body, sign), d.Seed[:]...)
		}
		return b.tx.Put(b.db.key(tagSlot, []byte{byte(m.gen % slots)}), body)
	}
	h := *m.hash
	h.Apply(m.pending)
	h.Apply(b.deltas)
	b.deltas, m.hash, m.pending, m.whole = nil, &h, nil, m.gen
	return b.tx.Put(b.db.key(tagMeta), h.Append(appendStats(head, m.stats)))
}

func appendStats(dst []byte, stats map[uint32]collStats) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(stats)))
	for _, n := range slices.Sorted(maps.Keys(stats)) {
		s := stats[n]
		dst = uvarints(dst, uint64(n), uint64(s.docs))
		dst = binary.BigEndian.AppendUint64(dst, uint64(s.maxTime))
	}
	return dst
}

func (m *meta) parse(b []byte) (rest []byte, stats map[uint32]collStats, err error) {
	s := scanner{b: b}
	m.gen = s.u64()
	m.cursor, m.refused, m.gaps = int64(s.uvarint()), int64(s.uvarint()), int64(s.uvarint())
	m.ahead = nil
	for range min(s.uvarint(), uint64(len(b))) {
		m.ahead = append(m.ahead, span{int64(s.uvarint()), int64(s.uvarint())})
	}
	stats = map[uint32]collStats{}
	for range min(s.uvarint(), uint64(len(b))) {
		n := uint32(s.uvarint())
		stats[n] = collStats{docs: int64(s.uvarint()), maxTime: clock.Time(s.u64())}
	}
	if s.bad {
		return nil, nil, errCorrupt
	}
	return s.b, stats, nil
}

// loadMeta reads the last whole write and the slots after it.
func loadMeta(db *DB, r store.Reader) (m meta, err error) {
	m = meta{stats: map[uint32]collStats{}, hash: &lthash.State{}}
	v, err := r.Get(db.key(tagMeta))
	if err == nil {
		rest, stats, err := m.parse(v)
		var h lthash.State
		if err != nil || !h.Parse(rest) {
			return m, errCorrupt
		}
		m.stats, m.hash, m.whole = stats, &h, m.gen
	} else if !errors.Is(err, store.ErrNotFound) {
		return m, err
	}
	var later [][]byte
	it := r.Iterate(store.Prefix(db.key(tagSlot)))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return m, err
		}
		if len(v) < 8 {
			return m, errCorrupt
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
			return m, errCorrupt
		}
		maps.Copy(m.stats, stats)
		for ; len(rest) > 0; rest = rest[33:] {
			m.pending = append(m.pending, lthash.Delta{Seed: lthash.Seed(rest[1:33]), Remove: rest[0] == 1})
		}
	}
	return m, nil
}

// saveCatalog writes the changed collections.
func (b *batch) saveCatalog() error {
	if len(b.catalogs) == 0 {
		return nil
	}
	for _, c := range b.cat.colls {
		if !b.catalogs[c.num] {
			continue
		}
		v, err := c.encode(b.multi)
		if err != nil {
			return err
		}
		if err := b.tx.Put(b.db.key(tagCollection, num(c.num)), v); err != nil {
			return err
		}
	}
	rest := uvarints(nil, uint64(b.cat.next))
	for _, n := range b.cat.dropped {
		rest = uvarints(rest, uint64(n))
	}
	clear(b.catalogs)
	return b.tx.Put(b.db.key(tagCollection, num(0)), rest)
}

func loadCatalog(db *DB, r store.Reader) (*catalog, error) {
	cat := &catalog{colls: map[string]*coll{}}
	p := db.key(tagCollection)
	it := r.Iterate(store.Prefix(p))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		k := scanner{b: it.Key()[len(p):]}
		n := uint32(k.uvarint())
		v, err := it.Value()
		if err != nil {
			return nil, err
		}
		if n == 0 {
			s := scanner{b: v}
			for cat.next = uint32(s.uvarint()); len(s.b) > 0 && !s.bad; {
				cat.dropped = append(cat.dropped, uint32(s.uvarint()))
			}
			continue
		}
		c, err := decodeColl(n, v)
		if err != nil {
			return nil, err
		}
		cat.colls[c.name] = c
	}
	return cat, it.Err()
}

func toValid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}
