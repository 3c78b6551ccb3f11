package keyspace

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// WithHandled returns a stored refusal, a document, with the mark that an app has dealt
// with it, or without.
func WithHandled(v []byte, handled bool) []byte {
	out, at := value.Begin(make([]byte, 0, len(v)+16))
	it := value.Elements(v)
	for name, e, ok := it.Next(); ok; name, e, ok = it.Next() {
		if string(name) != "handled" {
			out = value.AppendElement(out, name, e)
		}
	}
	if handled {
		out = value.AppendElement(out, []byte("handled"), value.Value{Type: bson.TypeBoolean, Data: []byte{1}})
	}
	return value.End(out, at)
}
