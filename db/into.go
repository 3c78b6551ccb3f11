package db

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/pipeline"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// Bounds of one transaction of $out and $merge, which is one record.
const (
	intoDocuments = 1000
	intoBytes     = payload.MaxBytes / 2
	intoTries     = 20 // of a transaction whose documents others change meanwhile
)

// An intoWriter writes the results of a pipeline into a collection, in transactions of this
// device: what it writes is judged and refused as every write is.
type intoWriter struct {
	ctx  context.Context //nolint:containedctx // of the one aggregation that it writes for
	db   *DB
	into *pipeline.Into
	o    pipeline.Options

	batch []bson.Raw
	size  int
	seen  map[string]struct{} // of $out: keys of the _ids of the results
	held  int                 // bytes of seen
	began bool                // a part was written already
}

// writeInto writes what next gives, nil at the end.
func (db *DB) writeInto(ctx context.Context, into *pipeline.Into, o pipeline.Options, next func() ([]byte, error)) error {
	w := &intoWriter{ctx: ctx, db: db, into: into, o: o, seen: map[string]struct{}{}}
	if err := w.check(); err != nil {
		return err
	}
	for {
		doc, err := next()
		if err != nil {
			return err
		}
		if doc == nil {
			break
		}
		if err := w.add(doc); err != nil {
			return err
		}
	}
	if into.Op == "$merge" {
		return w.flush()
	}
	return w.replace()
}

// check refuses a $merge on fields that may be those of several documents.
func (w *intoWriter) check() error {
	if w.into.Op == "$out" || slices.Equal(w.into.On, []string{"_id"}) {
		return nil
	}
	all, err := w.db.Collection(w.into.Collection).Indexes(w.ctx)
	if err != nil {
		return err
	}
	for _, x := range all {
		if x.Unique && x.Partial == nil && !x.Sparse && len(x.Keys) == len(w.into.On) &&
			!slices.ContainsFunc(x.Keys, func(k IndexKey) bool { return !slices.Contains(w.into.On, k.Path) }) {
			return nil
		}
	}
	return fault.Errorf(fault.InvalidOptions, "Cannot find index to verify that join fields will be unique: create a unique index on them")
}

// add takes a result, with an _id that it may lack.
func (w *intoWriter) add(result []byte) error {
	op, err := prepare(bytes.Clone(result))
	if err != nil {
		return err
	}
	if w.into.Op == "$out" {
		key := string(op.Key)
		if _, twice := w.seen[key]; twice {
			return fault.Errorf(fault.DuplicateKey, "$out: two results have the _id %s", value.AppendJSONValue(nil, op.ID, false))
		}
		w.seen[key] = struct{}{}
		if w.held += len(key) + 64; w.held > pipeline.MaxBytes {
			return fault.Errorf(fault.QueryMemoryExceeded, "Exceeded memory limit for $out: its results have too many _ids; filter or limit before it")
		}
	}
	if len(w.batch) == intoDocuments || w.size+len(op.Doc) > intoBytes && w.size > 0 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.batch, w.size = append(w.batch, bytes.Clone(op.Doc)), w.size+len(op.Doc)
	return nil
}

// transaction runs f until no other writer came between.
func (w *intoWriter) transaction(f func(tx *Tx) error) error {
	var err error
	for range intoTries {
		if err = w.db.Transaction(w.ctx, TxOptions{}, f); !errors.Is(err, ErrConflict) {
			break
		}
	}
	return err
}

// flush writes the results that wait.
func (w *intoWriter) flush() error {
	if len(w.batch) == 0 {
		return nil
	}
	err := w.transaction(w.write)
	if err != nil && w.began {
		return errors.Join(err, fault.Errorf(fault.KindOf(err), "%s: the results before were written already", w.into.Op))
	}
	w.batch, w.size, w.began = nil, 0, true
	return err
}

// write writes the results that wait in a transaction.
func (w *intoWriter) write(tx *Tx) error {
	for _, doc := range w.batch {
		var err error
		if w.into.Op == "$out" {
			err = put(tx, w.into.Collection, doc)
		} else {
			err = w.merge(tx, doc)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// put writes a document in the place of the one with its _id; the same is not written again.
func put(tx *Tx, collection string, doc bson.Raw) error {
	id := doc.Lookup("_id")
	has, err := tx.Get(collection, id)
	if errors.Is(err, ErrNotFound) {
		_, err = tx.Insert(collection, doc)
		return err
	}
	if err != nil || bytes.Equal(has.Raw, doc) {
		return err
	}
	_, err = tx.Replace(collection, byID(id), doc, UpdateOptions{})
	return err
}

func byID(id bson.RawValue) bson.Raw { return equal("_id", value.Of(id)) }

// equal is the filter {field: {$eq: v}}.
func equal(field string, v value.Value) bson.Raw {
	b, outer := value.Begin(nil)
	b, inner := value.Begin(value.AppendHeader(b, bson.TypeEmbeddedDocument, field))
	b = value.AppendElement(b, []byte("$eq"), v)
	return value.End(value.End(b, inner), outer)
}

// replace ends $out: no document stays that is no result. Where all of it fits in a record
// it is one, which devices have whole or not at all, and documents that go make room first
// for those that come.
func (w *intoWriter) replace() error {
	coll := w.db.Collection(w.into.Collection)
	if there, err := coll.Defined(w.ctx); err != nil {
		return err
	} else if !there && len(w.batch) == 0 {
		return w.db.CreateCollection(w.ctx, w.into.Collection, CollectionOptions{})
	}
	gone, err := w.others()
	if err != nil {
		return err
	}
	if !w.began && len(gone)+len(w.batch) <= payload.MaxOps/2 {
		return w.transaction(func(tx *Tx) error {
			if err := remove(tx, w.into.Collection, gone); err != nil {
				return err
			}
			return w.write(tx)
		})
	}
	if err := w.flush(); err != nil {
		return err
	}
	for some := range slices.Chunk(gone, intoDocuments) {
		if err := w.transaction(func(tx *Tx) error { return remove(tx, w.into.Collection, some) }); err != nil {
			return errors.Join(err, fault.Errorf(fault.KindOf(err), "$out: the results were written, but not all other documents removed"))
		}
	}
	return nil
}

func remove(tx *Tx, collection string, ids []bson.RawValue) error {
	for _, id := range ids {
		if _, err := tx.Delete(collection, byID(id), false); err != nil {
			return err
		}
	}
	return nil
}

// others lists the _ids of the documents that are no results.
func (w *intoWriter) others() (out []bson.RawValue, err error) {
	c, err := w.db.Collection(w.into.Collection).Find(w.ctx, nil, FindOptions{})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for c.Next() {
		id := c.Raw().Lookup("_id")
		key, err := payload.CheckID(value.Of(id))
		if err != nil {
			return nil, err
		}
		if _, is := w.seen[string(key)]; is {
			continue
		}
		if w.held += len(id.Value) + 64; w.held > pipeline.MaxBytes {
			return nil, fault.Errorf(fault.QueryMemoryExceeded, "Exceeded memory limit for $out: the collection has too many documents to replace; drop it first")
		}
		out = append(out, bson.RawValue{Type: id.Type, Value: bytes.Clone(id.Value)})
	}
	return out, c.Err()
}

// merge writes one result of $merge. What is merged is written as an update, which devices
// that changed other fields meanwhile merge with theirs.
func (w *intoWriter) merge(tx *Tx, doc bson.Raw) error {
	filter, err := w.filter(doc)
	if err != nil {
		return err
	}
	there, err := tx.Find(w.into.Collection, filter, FindOptions{Limit: 1})
	if err != nil {
		return err
	}
	if len(there) == 0 {
		switch w.into.NotMatched {
		case "discard":
			return nil
		case "fail":
			return fault.Errorf(fault.NoMatch, "$merge could not find a matching document in the target collection for at least one document in the source collection")
		}
		_, err := tx.Insert(w.into.Collection, doc)
		return err
	}
	id := there[0].Lookup("_id")
	switch w.into.Matched {
	case "keepExisting":
		return nil
	case "fail":
		return fault.Errorf(fault.DuplicateKey, "$merge: a document with the _id %s is there already", value.AppendJSONValue(nil, value.Of(id), false))
	case "replace":
		_, err = tx.Replace(w.into.Collection, byID(id), doc, UpdateOptions{})
		return err
	case "merge":
		stage, merr := bson.Marshal(bson.D{{Key: "$replaceWith", Value: bson.D{{Key: "$mergeObjects", Value: bson.A{
			"$$ROOT", bson.D{{Key: "$literal", Value: doc}},
		}}}}})
		if merr != nil {
			return merr
		}
		_, err = tx.Update(w.into.Collection, byID(id), PipelineUpdate(stage), UpdateOptions{})
		return err
	}
	next, err := w.into.Merged(there[0], doc, w.o)
	if err == nil && !bytes.Equal(next, there[0]) {
		_, err = tx.Replace(w.into.Collection, byID(id), next, UpdateOptions{})
	}
	return err
}

// filter finds the document that a result is merged with.
func (w *intoWriter) filter(doc bson.Raw) (bson.Raw, error) {
	conds := bson.A{}
	for _, on := range w.into.On {
		path, err := value.ParsePath(on)
		if err != nil {
			return nil, err
		}
		v := path.Lookup(doc)
		switch {
		case !v.Exists(), v.Type == bson.TypeNull, v.Type == bson.TypeUndefined:
			return nil, fault.Errorf(fault.BadValue, "$merge write error: 'on' field '%s' cannot be missing, null or undefined", on)
		case v.IsArray():
			return nil, fault.Errorf(fault.BadValue, "$merge write error: 'on' field '%s' cannot be an array", on)
		}
		conds = append(conds, equal(on, v))
	}
	return bson.Marshal(bson.D{{Key: "$and", Value: conds}})
}
