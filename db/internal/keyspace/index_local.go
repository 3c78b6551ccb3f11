package keyspace

import (
	"strings"

	"github.com/weftdb/weft/db/internal/value"
)

// IsIDIndex reports whether x is the index on _id, which is always there.
func IsIDIndex(x IndexDef) bool {
	return len(x.Keys) == 1 && x.Keys[0] == IndexKey{Path: "_id"} && (x.Name == "" || x.Name == "_id_") &&
		!x.Sparse && x.Partial == nil && x.ExpireAfter == nil
}

// NumericPath reports whether a path may name a place in an array.
func NumericPath(keys []IndexKey) bool {
	for _, k := range keys {
		for p := range strings.SplitSeq(k.Path, ".") {
			if value.ParseIndex(p) >= 0 {
				return true
			}
		}
	}
	return false
}
