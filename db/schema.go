package db

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

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
