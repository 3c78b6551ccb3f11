package plan

import (
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/query"
)

// impliesSparse reports whether what meets the conditions has one of the fields
// of keys, and no condition looks for a missing one: an array may hold both. A
// query may use a sparse index only then, as a partial one only if its filter
// implies the index's.
func impliesSparse(cons []query.Conjunct, keys []keyspace.IndexKey) bool {
	some := false
	for _, k := range keys {
		for i := range cons {
			if cons[i].Path != k.Path {
				continue
			}
			if !cons[i].Present() {
				return false
			}
			some = some || !cons[i].Inner
		}
	}
	return some
}
