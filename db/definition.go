package db

import (
	"errors"
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// systemCollection holds the definitions of all collections, one document a
// collection; they replicate and fold like other documents.
const systemCollection = "system.collections"

// A definition is a parsed document of the system collection.
type definition struct {
	text    string // of the schema, "" for none
	schema  *jsonschema.Schema
	indexes []Index
}

// parseDefinition reads a document of the system collection.
func parseDefinition(doc []byte) (*definition, error) {
	d := &definition{}
	it := value.Elements(doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		var err error
		switch string(k) {
		case "_id":
		case "schema":
			if v.Type != bson.TypeString {
				return nil, errors.New("db: a definition's schema must be a string of JSON")
			}
			d.text = string(v.Str())
			d.schema, err = compileSchema(d.text)
		case "indexes":
			d.indexes, err = parseIndexes(v)
		default:
			err = fmt.Errorf("db: a definition has no field %q", k)
		}
		if err != nil {
			return nil, err
		}
	}
	return d, nil
}
