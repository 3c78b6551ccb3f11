package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// An Index is an index of a collection.
type Index struct {
	Name   string // "" means the keys and directions, as "age_1_name_-1"
	Keys   []IndexKey
	Unique bool // refused for now
}

// An IndexKey is one field of an index.
type IndexKey struct {
	Path string
	Desc bool
}

// CreateIndex adds an index and returns its name. It returns when the index
// covers all documents.
func (c *Collection) CreateIndex(ctx context.Context, x Index) (string, error) {
	if err := writable(c.name); err != nil {
		return "", err
	}
	if err := checkIndex(&x); err != nil {
		return "", err
	}
	have, err := c.Indexes(ctx)
	if err != nil {
		return "", err
	}
	if len(have) >= maxIndexes {
		return "", fmt.Errorf("%w: a collection has at most %d indexes", ErrTooLarge, maxIndexes)
	}
	for _, h := range have {
		if h.Name == x.Name {
			if slices.Equal(h.Keys, x.Keys) {
				return x.Name, nil
			}
			return "", fmt.Errorf("%w: an index %s with other keys", ErrExists, x.Name)
		}
	}
	return x.Name, c.db.define(ctx, c.name, bson.D{{Key: "$addToSet", Value: bson.D{{Key: "indexes", Value: indexDoc(x)}}}})
}

// DropIndex removes an index, or returns ErrNotFound.
func (c *Collection) DropIndex(ctx context.Context, name string) error {
	have, err := c.Indexes(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(have, func(x Index) bool { return x.Name == name }) {
		return fmt.Errorf("%w: index %s", ErrNotFound, name)
	}
	pull := bson.D{{Key: "indexes", Value: bson.D{{Key: "name", Value: name}}}}
	return c.db.define(ctx, c.name, bson.D{{Key: "$pull", Value: pull}})
}

// Indexes returns the indexes, without the one on _id.
func (c *Collection) Indexes(ctx context.Context) ([]Index, error) {
	d, err := c.db.definition(c.name)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return slices.Clone(d.indexes), nil
}

func indexDoc(x Index) bson.D {
	keys := bson.D{}
	for _, k := range x.Keys {
		dir := int32(1)
		if k.Desc {
			dir = -1
		}
		keys = append(keys, bson.E{Key: k.Path, Value: dir})
	}
	return bson.D{{Key: "name", Value: x.Name}, {Key: "key", Value: keys}}
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
