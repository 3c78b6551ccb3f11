package buckets

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
)

// collectionPrefix begins the names of collections that hold buckets' entries.
const collectionPrefix = "bucket."

// documents is the entries of a bucket as a collection of a database.
type documents struct {
	db   *db.DB
	name string
}

// Create makes an empty bucket in d; it returns ErrExists if there is one of
// that name. Buckets of one name that two devices create while apart are one.
func Create(ctx context.Context, d *db.DB, blobs Blobs, name string) (*Bucket, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	err := d.CreateCollection(ctx, collectionPrefix+name, db.CollectionOptions{})
	if errors.Is(err, db.ErrExists) {
		return nil, fmt.Errorf("%w: %s", ErrExists, name)
	}
	if err != nil {
		return nil, fmt.Errorf("buckets: create %s: %w", name, err)
	}
	return newBucket(name, &documents{db: d, name: collectionPrefix + name}, blobs), nil
}

// Open returns the bucket of that name in d, or ErrNotFound.
func Open(ctx context.Context, d *db.DB, blobs Blobs, name string) (*Bucket, error) {
	names, err := List(ctx, d)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if n == name {
			return newBucket(name, &documents{db: d, name: collectionPrefix + name}, blobs), nil
		}
	}
	return nil, fmt.Errorf("%w: bucket %q", ErrNotFound, name)
}

// List returns the names of the buckets in d, in order.
func List(ctx context.Context, d *db.DB) ([]string, error) {
	infos, err := d.Collections(ctx)
	if err != nil {
		return nil, fmt.Errorf("buckets: list: %w", err)
	}
	var names []string
	for _, info := range infos {
		if name, ok := strings.CutPrefix(info.Name, collectionPrefix); ok && checkName(name) == nil {
			names = append(names, name)
		}
	}
	return names, nil
}

func (d *documents) state() [32]byte {
	_, h := d.db.StateHash()
	return h
}

func (d *documents) get(ctx context.Context, path string) (entry, error) {
	kind, raw, err := bson.MarshalValue(path)
	if err != nil {
		return entry{}, fmt.Errorf("buckets: %s: %w", path, err)
	}
	doc, err := d.db.Collection(d.name).Get(ctx, bson.RawValue{Type: kind, Value: raw})
	if errors.Is(err, db.ErrNotFound) {
		return entry{}, fmt.Errorf("%w: %s", ErrNotFound, path)
	}
	if err != nil {
		return entry{}, fmt.Errorf("buckets: %s: %w", path, err)
	}
	e, err := decodeEntry(doc.Raw)
	if err != nil {
		return entry{}, fmt.Errorf("%s: %w", path, err)
	}
	return e, nil
}

func (d *documents) scan(ctx context.Context, prefix, after string, limit int64, fn func(entry) error) ([]Note, error) {
	from := bson.D{{Key: "$gte", Value: prefix}}
	if after >= prefix {
		from = bson.D{{Key: "$gt", Value: after}}
	}
	if n := len(prefix); n > 0 && prefix[n-1] < 0x7f {
		from = append(from, bson.E{Key: "$lt", Value: prefix[:n-1] + string(rune(prefix[n-1]+1))})
	}
	filter, err := bson.Marshal(bson.D{{Key: "_id", Value: from}})
	if err != nil {
		return nil, fmt.Errorf("buckets: list: %w", err)
	}
	order, err := bson.Marshal(bson.D{{Key: "_id", Value: int32(1)}})
	if err != nil {
		return nil, fmt.Errorf("buckets: list: %w", err)
	}
	cur, err := d.db.Collection(d.name).Find(ctx, db.FindOptions{Filter: filter, Sort: order, Limit: limit})
	if err != nil {
		return nil, fmt.Errorf("buckets: list: %w", err)
	}
	defer cur.Close()
	var bad []Note
	for cur.Next() {
		e, err := decodeEntry(append(bson.Raw(nil), cur.Raw()...))
		if !strings.HasPrefix(e.path, prefix) {
			continue
		}
		if err != nil {
			bad = append(bad, Note{Path: e.path, Reason: err.Error()})
			continue
		}
		if err := fn(e); err != nil {
			return bad, err
		}
	}
	if err := cur.Err(); err != nil {
		return bad, fmt.Errorf("buckets: list: %w", err)
	}
	return bad, nil
}

// apply writes the changes as one transaction whose operations are judged one
// by one at their place in the order. It starts again when somebody here wrote
// one of the paths meanwhile.
func (d *documents) apply(ctx context.Context, changes []change) ([]string, error) {
	for {
		lost, err := d.try(ctx, changes)
		if !errors.Is(err, db.ErrConflict) || ctx.Err() != nil {
			return lost, err
		}
	}
}

func (d *documents) try(ctx context.Context, changes []change) (lost []string, err error) {
	err = d.db.Transaction(ctx, db.TxOptions{}, func(tx *db.Tx) error {
		lost = lost[:0]
		for _, c := range changes {
			ok, err := d.write(tx, c)
			if err != nil {
				return fmt.Errorf("buckets: %s: %w", c.path, err)
			}
			if !ok {
				lost = append(lost, c.path)
			}
		}
		return nil
	})
	return lost, err
}

// write puts one change into tx; ok reports whether a removal found what it was
// decided on.
func (d *documents) write(tx *db.Tx, c change) (ok bool, err error) {
	if c.version == nil && len(c.replaces) == 0 {
		// At its place in the order the removal is judged by the versions that
		// its writer saw: one written apart survives it.
		filter, err := bson.Marshal(bson.D{{Key: "_id", Value: c.path}, {Key: "v", Value: c.seen}})
		if err != nil {
			return false, err
		}
		n, err := tx.Delete(d.name, filter, false)
		return n == 1, err
	}
	filter, err := bson.Marshal(bson.D{{Key: "_id", Value: c.path}})
	if err != nil {
		return false, err
	}
	update, err := c.update()
	if err != nil {
		return false, err
	}
	_, err = tx.Update(d.name, filter, update, db.UpdateOptions{Upsert: c.version != nil})
	return true, err
}
