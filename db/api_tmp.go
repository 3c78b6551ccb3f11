package db

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"go.mongodb.org/mongo-driver/v2/bson"
)

var errNotYet = errors.New("db: not in this build")

// A DB is an open database. It is safe for concurrent use.
type DB struct{}

// Open opens the database under o.Prefix, creating it if there is none.
func Open(ctx context.Context, o Options) (*DB, error) { return &DB{}, nil }

// Close ends the committer and every cursor and watch. It does not close the store.
func (db *DB) Close() error { return nil }

// Wake says that the journal has new arrivals; it never blocks.
func (db *DB) Wake() {}

// Settle returns when everything that had arrived in the journal before the call is folded and durable.
func (db *DB) Settle(ctx context.Context) error { return errNotYet }

// Void makes the operations of the given logs count as never written, for good.
func (db *DB) Void(ctx context.Context, logs ...clock.LogID) error { return errNotYet }

// StateHash returns the arrival up to which the database is folded and the hash of that state.
func (db *DB) StateHash() (n int64, h clock.Hash) { return 0, clock.Hash{} }

// Info describes the database.
func (db *DB) Info() Info { return Info{} }

// CollectionOptions is the definition of a collection.
type CollectionOptions struct {
	Schema  bson.Raw // a JSON Schema, as a document; nil accepts every document
	Indexes []Index
}

// An Index is an index of a collection.
type Index struct {
	Name   string // "" in CreateIndex means the keys and directions, as "age_1_name_-1"
	Keys   []IndexKey
	Unique bool
}

// An IndexKey is one field of an index.
type IndexKey struct {
	Path string
	Desc bool
}

// A CollectionInfo describes a collection.
type CollectionInfo struct {
	Name      string
	Schema    bson.Raw
	Indexes   []Index
	Documents int64
}

// CreateCollection defines a collection.
func (db *DB) CreateCollection(ctx context.Context, name string, o CollectionOptions) error {
	return errNotYet
}

// DropCollection deletes the documents that this replica holds of a collection, and its definition.
func (db *DB) DropCollection(ctx context.Context, name string) error { return errNotYet }

// Collections describes the collections, by name.
func (db *DB) Collections(ctx context.Context) ([]CollectionInfo, error) { return nil, errNotYet }

// Collection returns the named collection, which need not exist.
func (db *DB) Collection(name string) *Collection { return &Collection{db: db, name: name} }

// A Collection reads and writes one collection. It is safe for concurrent use.
type Collection struct {
	db   *DB
	name string
}

// Name returns the collection's name.
func (c *Collection) Name() string { return c.name }

// Insert inserts documents in order and returns their _ids.
func (c *Collection) Insert(ctx context.Context, docs ...bson.Raw) ([]bson.RawValue, error) {
	return nil, errNotYet
}

// A Document is a document with its metadata.
type Document struct {
	Raw bson.Raw
	Mod clock.Time // of the last operation that changed it: _mod
}

// Get returns the document with the given _id, or ErrNotFound.
func (c *Collection) Get(ctx context.Context, id bson.RawValue) (Document, error) {
	return Document{}, errNotYet
}

// FindOptions selects documents. The zero value selects all.
type FindOptions struct {
	Filter, Sort, Projection bson.Raw
	Skip, Limit              int64
	NoIndex                  bool // scan, whatever indexes there are
}

// Find returns a cursor over the documents of one moment that match.
func (c *Collection) Find(ctx context.Context, o FindOptions) (*Cursor, error) {
	return nil, errNotYet
}

// A Cursor walks the result of a Find. It belongs to one goroutine; the caller owes Close.
type Cursor struct{}

// Next moves to the next document.
func (c *Cursor) Next() bool { return false }

// Raw returns the current document, valid until the next call of Next.
func (c *Cursor) Raw() bson.Raw { return nil }

// Err returns the error that ended the cursor, or nil.
func (c *Cursor) Err() error { return errNotYet }

// Close frees the cursor.
func (c *Cursor) Close() {}

// UpdateOptions tunes Update and Replace.
type UpdateOptions struct {
	Many, Upsert bool
	ArrayFilters []bson.Raw
}

// An UpdateResult says what an update did.
type UpdateResult struct {
	Matched, Modified int64
	UpsertedID        bson.RawValue // set if a document was inserted
}

// Update applies update operators to the documents that match filter.
func (c *Collection) Update(ctx context.Context, filter, update bson.Raw, o UpdateOptions) (UpdateResult, error) {
	return UpdateResult{}, errNotYet
}

// Replace replaces one document that matches filter.
func (c *Collection) Replace(ctx context.Context, filter, doc bson.Raw, o UpdateOptions) (UpdateResult, error) {
	return UpdateResult{}, errNotYet
}

// Delete deletes the first document that matches filter, or all of them.
func (c *Collection) Delete(ctx context.Context, filter bson.Raw, many bool) (int64, error) {
	return 0, errNotYet
}

// Count counts the documents that match filter.
func (c *Collection) Count(ctx context.Context, filter bson.Raw) (int64, error) {
	return 0, errNotYet
}

// CreateIndex adds an index and returns its name.
func (c *Collection) CreateIndex(ctx context.Context, x Index) (string, error) { return "", errNotYet }

// DropIndex removes an index.
func (c *Collection) DropIndex(ctx context.Context, name string) error { return errNotYet }

// Indexes returns the indexes, without the one on _id.
func (c *Collection) Indexes(ctx context.Context) ([]Index, error) { return nil, errNotYet }

// Run runs a MongoDB command document and returns the reply document, which says whether it failed.
func (db *DB) Run(ctx context.Context, command bson.Raw) (bson.Raw, error) { return nil, errNotYet }

// TxOptions tunes a transaction.
type TxOptions struct {
	// Atomic makes every replica refuse all of the transaction if it refuses any operation of it; at most 256 documents.
	Atomic bool
}

// A Tx reads one moment and its own writes.
type Tx struct{}

// Transaction runs f and commits what it wrote as one record.
func (db *DB) Transaction(ctx context.Context, o TxOptions, f func(tx *Tx) error) error {
	return errNotYet
}

// Insert is Collection.Insert in the transaction.
func (tx *Tx) Insert(collection string, docs ...bson.Raw) ([]bson.RawValue, error) {
	return nil, errNotYet
}

// Get is Collection.Get in the transaction.
func (tx *Tx) Get(collection string, id bson.RawValue) (Document, error) {
	return Document{}, errNotYet
}

// Find returns the documents of the transaction's view that match.
func (tx *Tx) Find(collection string, o FindOptions) ([]bson.Raw, error) { return nil, errNotYet }

// Update is Collection.Update in the transaction.
func (tx *Tx) Update(collection string, filter, update bson.Raw, o UpdateOptions) (UpdateResult, error) {
	return UpdateResult{}, errNotYet
}

// Replace is Collection.Replace in the transaction.
func (tx *Tx) Replace(collection string, filter, doc bson.Raw, o UpdateOptions) (UpdateResult, error) {
	return UpdateResult{}, errNotYet
}

// Delete is Collection.Delete in the transaction.
func (tx *Tx) Delete(collection string, filter bson.Raw, many bool) (int64, error) {
	return 0, errNotYet
}

// WatchOptions selects changes.
type WatchOptions struct {
	Collection  string   // "" watches all but system collections
	Filter      bson.Raw // on the document after the change, or before a delete
	ResumeAfter string   // the token of the last change seen; "" starts now
}

// A Change is one change of one document, or a gap.
type Change struct {
	Operation     string // insert, update, replace, delete, or gap: changes of Collection ("" for any) may be missing, read it again
	Collection    string
	ID            bson.RawValue
	After, Before bson.Raw // Before is known for live changes only
	Remote        bool     // written by another device
	Time          time.Time
	Token         string // resumes after this change
}

// A Watch is a stream of changes. It belongs to one goroutine; the caller owes Close.
type Watch struct{}

// Watch opens a stream of changes.
func (db *DB) Watch(ctx context.Context, o WatchOptions) (*Watch, error) { return nil, errNotYet }

// Next waits for the next change. It fails when ctx ends, the watch or the database closes.
func (w *Watch) Next(ctx context.Context) (Change, error) { return Change{}, errNotYet }

// Close ends the watch.
func (w *Watch) Close() {}

// A Refusal is an operation that the fold refused.
type Refusal struct {
	Stamp      clock.Stamp
	Seq        uint64 // of its record in its log
	Operation  string
	Collection string
	ID         bson.RawValue
	Reason     Reason
	Message    string
}

// A Reason says why an operation was refused; a stable word.
type Reason string

// Refused walks the refused operations in stamp order.
func (db *DB) Refused(ctx context.Context) iter.Seq2[Refusal, error] {
	return func(yield func(Refusal, error) bool) {}
}
