package db

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

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

// refuseLoader keeps schemas from reading anything beyond themselves.
type refuseLoader struct{}

func (refuseLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("schemas may not refer to other documents: %s", url)
}

func compileSchema(text string) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("db: bad schema: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(refuseLoader{})
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("weft:schema", doc); err != nil {
		return nil, fmt.Errorf("db: bad schema: %w", err)
	}
	s, err := c.Compile("weft:schema")
	if err != nil {
		return nil, fmt.Errorf("db: bad schema: %w", err)
	}
	return s, nil
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

// maxIndexes bounds the indexes of a collection.
const maxIndexes = 64

func parseIndexes(v value.Value) (out []Index, err error) {
	if !v.IsArray() {
		return nil, errors.New("db: a definition's indexes must be an array")
	}
	it := value.Elements(v.Data)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		if !e.IsDoc() {
			return nil, errors.New("db: an index must be a document")
		}
		x := Index{Name: string(value.Get(e.Data, "name").Str())}
		keys := value.Get(e.Data, "key")
		if !keys.IsDoc() {
			return nil, errors.New("db: an index must have a key document")
		}
		if x.Keys, err = parseIndexKeys(keys.Data); err != nil {
			return nil, err
		}
		if err = checkIndex(&x); err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	if len(out) > maxIndexes {
		return nil, fmt.Errorf("db: a collection has at most %d indexes", maxIndexes)
	}
	return out, nil
}

func parseIndexKeys(doc []byte) (keys []IndexKey, err error) {
	it := value.Elements(doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		switch {
		case value.Equal(v, value.Int32(1)):
			keys = append(keys, IndexKey{Path: string(k)})
		case value.Equal(v, value.Int32(-1)):
			keys = append(keys, IndexKey{Path: string(k), Desc: true})
		default:
			return nil, fmt.Errorf("db: index key %q must be 1 or -1", k)
		}
	}
	return keys, nil
}

// checkIndex checks x and names it if it has no name.
func checkIndex(x *Index) error {
	if len(x.Keys) == 0 || len(x.Keys) > 16 {
		return errors.New("db: an index has 1 to 16 keys")
	}
	if x.Unique {
		return value.Errorf(value.CodeCommandNotSupported, "unique indexes are not supported")
	}
	var name []string
	for _, k := range x.Keys {
		if _, err := value.ParsePath(k.Path); err != nil {
			return err
		}
		dir := "1"
		if k.Desc {
			dir = "-1"
		}
		name = append(name, k.Path, dir)
	}
	if x.Name == "" {
		x.Name = strings.Join(name, "_")
	}
	if len(x.Name) > 255 || x.Name == "_id_" {
		return fmt.Errorf("db: bad index name %q", x.Name)
	}
	return nil
}

// validate judges doc, as plain JSON, by the schema.
func (d *definition) validate(doc []byte) error {
	if d == nil || d.schema == nil {
		return nil
	}
	return d.schema.Validate(plain(value.Doc(doc)))
}

// plain gives v as the JSON value that schemas see: dates as RFC 3339 text,
// object IDs in hexadecimal, binary in base64, the rest as Extended JSON.
func plain(v value.Value) any {
	rv := v.Raw()
	switch v.Type {
	case bson.TypeEmbeddedDocument:
		m := map[string]any{}
		it := value.Elements(v.Data)
		for k, e, ok := it.Next(); ok; k, e, ok = it.Next() {
			m[string(k)] = plain(e)
		}
		return m
	case bson.TypeArray:
		a := []any{}
		it := value.Elements(v.Data)
		for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
			a = append(a, plain(e))
		}
		return a
	case bson.TypeString:
		return string(v.Str())
	case bson.TypeBoolean:
		return v.Bool()
	case bson.TypeNull, bson.TypeUndefined:
		return nil
	case bson.TypeDateTime:
		return rv.Time().UTC().Format("2006-01-02T15:04:05.000Z07:00")
	case bson.TypeObjectID:
		return rv.ObjectID().Hex()
	case bson.TypeBinary:
		_, b := rv.Binary()
		return base64.StdEncoding.EncodeToString(b)
	case bson.TypeInt32:
		return json.Number(fmt.Sprint(rv.Int32()))
	case bson.TypeInt64:
		return json.Number(fmt.Sprint(rv.Int64()))
	}
	out, err := jsonschema.UnmarshalJSON(strings.NewReader(string(value.AppendJSONValue(nil, v, false))))
	if err != nil {
		return string(value.AppendJSONValue(nil, v, false))
	}
	return out
}
