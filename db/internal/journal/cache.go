package journal

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

// Size is about what the record takes in memory, in bytes.
func (r *Record) Size() int {
	n := 256
	for i := range r.Ops {
		n += 256 + r.Ops[i].Size()
	}
	return n
}
