package buckets

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/fault"
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
	if err := CheckName(name); err != nil {
		return nil, err
	}
	err := d.CreateCollection(ctx, collectionPrefix+name, db.CollectionOptions{})
	if errors.Is(err, db.ErrExists) {
		return nil, fault.Of(ErrExists, "bucket %s already exists", name)
	}
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
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
	return nil, fault.Of(ErrNotFound, "no bucket is named %.80q", name)
}

// Drop removes a bucket with its entries, at every replica; ErrNotFound if there is none. What
// another device puts into it meanwhile stays, as of a collection that is dropped.
func Drop(ctx context.Context, d *db.DB, name string) error {
	if _, err := Open(ctx, d, nil, name); err != nil {
		return err
	}
	if err := d.DropCollection(ctx, collectionPrefix+name); err != nil {
		return fmt.Errorf("drop %s: %w", name, err)
	}
	return nil
}

// List returns the names of the buckets in d, in order.
func List(ctx context.Context, d *db.DB) ([]string, error) {
	infos, err := d.Collections(ctx)
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	var names []string
	for _, info := range infos {
		if name, ok := strings.CutPrefix(info.Name, collectionPrefix); ok && CheckName(name) == nil {
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
	id, err := pathValue(path)
	if err != nil {
		return entry{}, fmt.Errorf("%s: %w", path, err)
	}
	doc, err := d.db.Collection(d.name).Get(ctx, id)
	if errors.Is(err, db.ErrNotFound) {
		return entry{}, d.noFile(path)
	}
	if err != nil {
		return entry{}, fmt.Errorf("%s: %w", path, err)
	}
	e, err := decodeEntry(doc.Raw)
	if err != nil {
		return entry{}, fmt.Errorf("%s: %w", path, err)
	}
	if e.removed() {
		return entry{}, d.noFile(path)
	}
	return e, nil
}

func (d *documents) noFile(path string) error {
	return fault.Of(ErrNotFound, "bucket %s has no file %s", strings.TrimPrefix(d.name, collectionPrefix), path)
}

func (d *documents) scan(ctx context.Context, prefix, after string, limit int64, fn func(entry) error) (done scanned, err error) {
	cur, err := d.find(ctx, prefix, after, limit)
	if err != nil {
		return done, fmt.Errorf("list: %w", err)
	}
	defer cur.Close()
	for cur.Next() {
		e, err := decodeEntry(append(bson.Raw(nil), cur.Raw()...))
		done.read++
		done.after = e.path
		switch {
		case !strings.HasPrefix(e.path, prefix):
			continue
		case err != nil:
			done.bad = append(done.bad, Note{Path: e.path, Reason: err.Error()})
			continue
		case e.removed():
			continue
		}
		if err := fn(e); err != nil {
			return done, err
		}
	}
	if err := cur.Err(); err != nil {
		return done, fmt.Errorf("list: %w", err)
	}
	return done, nil
}

// find returns a cursor over documents in order of their paths.
func (d *documents) find(ctx context.Context, prefix, after string, limit int64) (*db.Cursor, error) {
	from := bson.D{{Key: "$gte", Value: prefix}}
	if after >= prefix {
		from = bson.D{{Key: "$gt", Value: after}}
	}
	if n := len(prefix); n > 0 && prefix[n-1] < 0x7f {
		from = append(from, bson.E{Key: "$lt", Value: prefix[:n-1] + string(rune(prefix[n-1]+1))})
	}
	filter, err := bson.Marshal(bson.D{{Key: "_id", Value: from}})
	if err != nil {
		return nil, err
	}
	order, err := bson.Marshal(bson.D{{Key: "_id", Value: int32(1)}})
	if err != nil {
		return nil, err
	}
	return d.db.Collection(d.name).Find(ctx, filter, db.FindOptions{Sort: order, Limit: limit})
}

// apply writes the changes as one transaction whose operations are judged one
// by one at their place in the order. It starts again when somebody here wrote
// one of the paths meanwhile.
func (d *documents) apply(ctx context.Context, changes []change) ([]string, error) {
	for {
		left, err := d.try(ctx, changes)
		if !errors.Is(err, db.ErrConflict) || ctx.Err() != nil {
			return left, err
		}
	}
}

func (d *documents) try(ctx context.Context, changes []change) (left []string, err error) {
	err = d.db.Transaction(ctx, db.TxOptions{}, func(tx *db.Tx) error {
		left = left[:0]
		for _, c := range changes {
			more, err := d.write(tx, c)
			if err != nil {
				return fmt.Errorf("%s: %w", c.path, err)
			}
			if more {
				left = append(left, c.path)
			}
		}
		return nil
	})
	return left, err
}

// write puts one change into tx; more reports whether the path has a version
// after a change that only drops some.
func (d *documents) write(tx *db.Tx, c change) (more bool, err error) {
	filter, err := bson.Marshal(bson.D{{Key: "_id", Value: c.path}})
	if err != nil {
		return false, err
	}
	update, err := c.update()
	if err != nil {
		return false, err
	}
	old, err := d.in(tx, c.path)
	if errors.Is(err, ErrMalformed) { // nothing can be built on it
		if _, err := tx.Delete(d.name, filter, false); err != nil {
			return false, err
		}
	} else if err != nil && !errors.Is(err, db.ErrNotFound) {
		return false, err
	}
	if c.version == nil && (err != nil || old.removed()) {
		return false, nil
	}
	if _, err = tx.Update(d.name, filter, update, db.UpdateOptions{Upsert: c.version != nil}); err != nil || c.version != nil {
		return false, err
	}
	e, err := d.in(tx, c.path)
	return !e.removed(), err
}

// in returns an entry as tx sees it.
func (d *documents) in(tx *db.Tx, path string) (entry, error) {
	id, err := pathValue(path)
	if err != nil {
		return entry{}, err
	}
	doc, err := tx.Get(d.name, id)
	if err != nil {
		return entry{}, err
	}
	return decodeEntry(doc.Raw)
}

func pathValue(path string) (bson.RawValue, error) {
	kind, raw, err := bson.MarshalValue(path)
	return bson.RawValue{Type: kind, Value: raw}, err
}
