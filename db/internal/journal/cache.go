package journal

import "slices"

// maxCacheBytes bounds a cache.
const maxCacheBytes = 8 << 20

// A Cache keeps decoded records within a bound; the oldest go first. The zero value is
// empty.
type Cache struct {
	recs  map[int64]*Record
	order []int64
	bytes int
}

// Get returns the record that arrived as number n; nil if it is not kept.
func (c *Cache) Get(n int64) *Record { return c.recs[n] }

// Add keeps a record.
func (c *Cache) Add(r *Record) {
	if c.recs == nil {
		c.recs = map[int64]*Record{}
	}
	if c.recs[r.N] != nil {
		return
	}
	c.recs[r.N] = r
	c.order = append(c.order, r.N)
	c.bytes += r.Size()
	for c.bytes > maxCacheBytes && len(c.order) > 1 {
		n := c.order[0]
		c.order = c.order[1:]
		c.bytes -= c.recs[n].Size()
		delete(c.recs, n)
	}
}

// Drop forgets a record: it stands elsewhere now.
func (c *Cache) Drop(n int64) {
	if r := c.recs[n]; r != nil {
		c.bytes -= r.Size()
		delete(c.recs, n)
		c.order = slices.DeleteFunc(c.order, func(m int64) bool { return m == n })
	}
}

// Size is about what the record takes in memory, in bytes.
func (r *Record) Size() int {
	n := 256 + 72*len(r.View)
	if r.Horizon != nil {
		n += 72 * len(r.Horizon.View)
	}
	for i := range r.Ops {
		n += 256 + r.Ops[i].Size()
	}
	return n
}
