package keyspace

import (
	"bytes"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// ValuesOf returns the values of doc that give the index key.
func (ix *Index) ValuesOf(doc, key []byte) bson.D {
	d := bson.D{}
	var vals []value.Value
	for i, p := range ix.paths {
		n := value.KeyLen(key, ix.Keys[i].Desc)
		if n < 0 {
			return d
		}
		vals, _ = p.IndexValues(vals[:0], doc)
		for _, v := range vals {
			if bytes.Equal(value.AppendKey(nil, v, ix.Keys[i].Desc), key[:n]) {
				d = append(d, bson.E{Key: ix.Keys[i].Path, Value: v.Raw()})
				break
			}
		}
		key = key[n:]
	}
	return d
}
