package logstore

import "github.com/weftdb/weft/net/internal/format"

// maxCached bounds the payloads of received records that are kept for
// [ArrivalCache.Get], so that they are not read and opened a second time.
const maxCached = 16 << 20

// An ArrivalCache holds opened records by arrival number; the zero value is empty.
type ArrivalCache struct {
	entries map[int64]format.Entry
	size    int
	low     int64 // nothing is held up to here
}

// Add keeps an entry while there is room. What does not fit is read from the store
// later: the cache saves opening a body twice, no more.
func (c *ArrivalCache) Add(n int64, e format.Entry) {
	if c.size+len(e.Payload) > maxCached {
		return
	}
	if c.entries == nil {
		c.entries = map[int64]format.Entry{}
		c.low = n - 1
	}
	c.entries[n] = e
	c.size += len(e.Payload) + 64
}

// Get returns the entry of arrival n, if it is held.
func (c *ArrivalCache) Get(n int64) (e format.Entry, ok bool) {
	e, ok = c.entries[n]
	return e, ok
}

// Drop forgets the entries up to n.
func (c *ArrivalCache) Drop(n int64) {
	for ; c.low < n && len(c.entries) > 0; c.low++ {
		if e, ok := c.entries[c.low+1]; ok {
			c.size -= len(e.Payload) + 64
			delete(c.entries, c.low+1)
		}
	}
	c.low = max(c.low, n)
}
