package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"golang.org/x/sync/errgroup"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/fault"
)

// Bounds of what a Writer has under way.
const (
	batchDocuments = 1000
	batchBytes     = 640 << 10 // one record, also as a transaction
	atOnce         = 4         // batches, which share syncs
	maxListed      = 1000      // failures that a report lists
	maxTries       = 20        // of a batch whose documents others change meanwhile
)

// WriterOptions say how documents are written. The zero value fails on the first
// document that is refused.
type WriterOptions struct {
	Duplicates  Duplicates // "" means Fail
	GoOn        bool       // a document that is refused does not end the import
	MaxFailures int64      // with GoOn, end after as many; 0 never
}

// A Failure is a document, or a line, that was not written.
type Failure struct {
	Collection string
	Line       uint64
	Err        error
}

// A Report says what an import did, also one that ended early: what it counts
// is durable.
type Report struct {
	Inserted int64
	Replaced int64
	Skipped  int64 // were there already, with Skip, or the same with Replace
	Failed   int64
	Failures []Failure // the first 1,000, by line
	Stopped  error     // why the import ended before its end; nil if it did not
}

// A Writer writes documents into a database, a few batches at once. Its methods are called
// by one goroutine; the caller owes Close. The goroutine of the caller fills a batch and
// owns coll, docs, lines, size and flying; a batch that was handed over is its goroutine's.
// An error of a batch that is not of a document comes out of drain or Close.
type Writer struct {
	db *db.DB
	o  WriterOptions

	ctx    context.Context //nolint:containedctx // of the one import that the writer is
	g      *errgroup.Group
	coll   string
	docs   []bson.Raw
	lines  []uint64
	size   int
	flying map[string]struct{} // _ids of batches under way, and of the next one

	mu     sync.Mutex // guards report
	report Report
}

// NewWriter returns a writer of d.
func NewWriter(ctx context.Context, d *db.DB, o WriterOptions) *Writer {
	w := &Writer{db: d, o: o, ctx: ctx, flying: map[string]struct{}{}}
	if w.o.Duplicates == "" {
		w.o.Duplicates = Fail
	}
	w.group()
	return w
}

func (w *Writer) group() {
	w.g = new(errgroup.Group)
	w.g.SetLimit(atOnce)
}

// drain waits for the batches under way. A group keeps its first error, so there is a new
// one after it.
func (w *Writer) drain() error {
	err := w.g.Wait()
	clear(w.flying)
	w.group()
	return err
}

// Stopped reports whether the import is over: nothing more is written.
func (w *Writer) Stopped() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.report.Stopped != nil
}

// fail counts a document or line that is not written, and ends the import if failures do.
// Batches that are under way may still add failures after it ended the import; what is
// listed is bounded, the count is not.
func (w *Writer) fail(f Failure) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &w.report
	if r.Failed++; len(r.Failures) < maxListed {
		r.Failures = append(r.Failures, f)
	}
	switch {
	case !w.o.GoOn, w.o.MaxFailures == 1:
		r.Stopped = errors.Join(r.Stopped, fmt.Errorf("line %d: %w", f.Line, f.Err))
	case w.o.MaxFailures > 0 && r.Failed >= w.o.MaxFailures && r.Stopped == nil:
		r.Stopped = fmt.Errorf("%d lines failed, the last of them line %d: %w", r.Failed, f.Line, f.Err)
	}
}

// Use begins a collection: what is written next goes there. A definition is taken over;
// where the collection has another, Fail is ErrDefined and Skip keeps that. It waits for
// the batches before a definition is written, since the definition would apply to those still
// under way; without one the batches of two collections go on side by side.
func (w *Writer) Use(collection string, definition bson.Raw) error {
	if w.Stopped() {
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	w.coll = collection
	if definition == nil {
		return nil
	}
	if err := w.drain(); err != nil {
		return err
	}
	if name, ok := definition.Lookup("_id").StringValueOK(); !ok || name != collection {
		return fault.Of(ErrFormat, "the definition given for %s belongs to another collection", collection)
	}
	same, err := w.sameDefinition(collection, definition)
	if err != nil || same || w.o.Duplicates == Skip && w.defined(collection) {
		return err
	}
	if w.o.Duplicates == Fail && w.defined(collection) {
		return fault.Of(ErrDefined, "collection %s already exists with another definition: skip keeps it, replace replaces it", collection)
	}
	return w.db.Define(w.ctx, definition)
}

func (w *Writer) definition(collection string) (bson.Raw, error) {
	s, err := w.db.Snapshot()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	d, err := s.Definition(collection)
	if errors.Is(err, db.ErrNotFound) {
		err = nil
	}
	return d, err
}

func (w *Writer) sameDefinition(collection string, definition bson.Raw) (bool, error) {
	has, err := w.definition(collection)
	return slices.Equal(has, definition), err
}

// defined reports whether a collection has more of a definition than its name. A collection
// that its first insert has defined has nothing else, and an import may define it. If it
// cannot be read it counts as defined: nothing is overwritten that is not known.
func (w *Writer) defined(collection string) bool {
	d, err := w.definition(collection)
	if err != nil {
		return true
	}
	for _, field := range []string{"schema", "rules", "steps"} {
		if _, err := d.LookupErr(field); err == nil {
			return true
		}
	}
	for _, field := range []string{"indexes", "plain"} {
		indexes, ok := d.Lookup(field).ArrayOK()
		if values, err := indexes.Values(); ok && (err != nil || len(values) > 0) {
			return true
		}
	}
	return false
}

// Write writes a document of the collection in use, or counts a line that could not be
// read. It returns before the document is durable; Close tells. Two documents with one _id
// never are under way together, because batches end in no order, and which was first would
// be chance.
func (w *Writer) Write(it Item) error {
	switch {
	case w.Stopped():
		return nil
	case it.Err != nil:
		return w.unread(it)
	}
	if v, err := it.Document.LookupErr("_id"); err == nil {
		// Of two documents with one _id the first is the one that was there.
		key := string(rune(v.Type)) + string(v.Value)
		if _, twice := w.flying[key]; twice {
			if err := errors.Join(w.flush(), w.drain()); err != nil {
				return err
			}
		}
		defer func() { w.flying[key] = struct{}{} }()
	}
	if w.size+len(it.Document) > batchBytes || len(w.docs) >= batchDocuments {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.docs, w.lines, w.size = append(w.docs, it.Document), append(w.lines, it.Line), w.size+len(it.Document)
	return nil
}

// unread counts a line that could not be read. If it ends the import, what stands before it
// is written first; that may end it before.
func (w *Writer) unread(it Item) error {
	w.mu.Lock()
	ends := !w.o.GoOn || w.o.MaxFailures > 0 && w.report.Failed+1 >= w.o.MaxFailures
	w.mu.Unlock()
	if ends {
		if err := errors.Join(w.flush(), w.drain()); err != nil || w.Stopped() {
			return err
		}
	}
	w.fail(Failure{it.Collection, it.Line, it.Err})
	return nil
}

// flush hands the batch to a goroutine. It waits while as many as may be are under way,
// which is what bounds the memory. flying grows by what was written and cannot tell which
// batch has ended, so now and then all of them are awaited and it starts empty.
func (w *Writer) flush() error {
	if len(w.docs) == 0 || w.Stopped() {
		return nil
	}
	b := batch{w, w.coll, w.docs, w.lines}
	w.docs, w.lines, w.size = nil, nil, 0
	w.g.Go(b.write)
	if len(w.flying) > 2*atOnce*batchDocuments {
		return w.drain()
	}
	return w.ctx.Err()
}

// Close writes what is left and returns what the import did. An error is of the database,
// or the end of ctx; the report counts what was written before. Nobody else has the report
// any more when the batches have ended, so it is read without the lock.
func (w *Writer) Close() (Report, error) {
	err := errors.Join(w.flush(), w.g.Wait())
	slices.SortStableFunc(w.report.Failures, func(a, b Failure) int { return cmp.Compare(a.Line, b.Line) })
	return w.report, err
}

// A batch is written at once.
type batch struct {
	w     *Writer
	coll  string
	docs  []bson.Raw
	lines []uint64
}

// A batch that was waiting when the import ended is not written and not counted.
func (b batch) write() error {
	if b.w.Stopped() {
		return nil
	}
	if b.w.o.Duplicates == Replace {
		return b.replace()
	}
	return b.insert()
}

// insert inserts the batch's documents, each for itself. Only with Fail, and where the
// first refusal ends the import, are they in order: then what is after it is not written.
// An error of the whole call is a failure of the batch's first line, as nothing says of
// which.
func (b batch) insert() error {
	w := b.w
	ordered := w.o.Duplicates == Fail && !w.o.GoOn
	ids, refused, err := w.db.Collection(b.coll).InsertMany(w.ctx, b.docs, db.InsertOptions{Unordered: !ordered})
	if err != nil {
		if w.ctx.Err() != nil || errors.Is(err, db.ErrClosed) {
			return err
		}
		w.fail(Failure{b.coll, b.lines[0], err})
		return nil
	}
	skipped := int64(0)
	for _, e := range refused {
		if fault.Is(e.Err, fault.DuplicateKey) && w.o.Duplicates == Skip && b.there(e.Index) {
			skipped++
			continue
		}
		w.fail(Failure{b.coll, b.lines[e.Index], e.Err})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report.Inserted, w.report.Skipped = w.report.Inserted+int64(len(ids)), w.report.Skipped+skipped
	return nil
}

// there reports whether the database has a document with the _id of the
// batch's i-th: then that is why it was refused, and no unique index.
func (b batch) there(i int) bool {
	v, err := b.docs[i].LookupErr("_id")
	if err != nil {
		return false
	}
	_, err = b.w.db.Collection(b.coll).Get(b.w.ctx, v)
	return err == nil
}

// replace puts the batch's documents in the place of what has their _ids, in one
// transaction; if that is refused, in one for each, so that it is known which.
func (b batch) replace() error {
	err := b.replaceAll()
	if err == nil || b.w.ctx.Err() != nil || errors.Is(err, db.ErrClosed) {
		return err
	}
	if len(b.docs) == 1 {
		b.w.fail(Failure{b.coll, b.lines[0], err})
		return nil
	}
	for i := range b.docs {
		if b.w.Stopped() {
			return nil
		}
		if err := (batch{b.w, b.coll, b.docs[i : i+1], b.lines[i : i+1]}).replace(); err != nil {
			return err
		}
	}
	return nil
}

// A conflict says that another writer came between, and the transaction is run again from
// what is there now; the counts start again with it.
func (b batch) replaceAll() error {
	var inserted, replaced, same int64
	var err error
	for range maxTries {
		inserted, replaced, same = 0, 0, 0
		err = b.w.db.Transaction(b.w.ctx, db.TxOptions{}, func(tx *db.Tx) error {
			for _, doc := range b.docs {
				n, err := put(tx, b.coll, doc)
				if err != nil {
					return err
				}
				switch n {
				case wasNew:
					inserted++
				case wasOther:
					replaced++
				default:
					same++
				}
			}
			return nil
		})
		if !errors.Is(err, db.ErrConflict) {
			break
		}
	}
	if err != nil {
		return err
	}
	r := &b.w.report
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	r.Inserted, r.Replaced, r.Skipped = r.Inserted+inserted, r.Replaced+replaced, r.Skipped+same
	return nil
}

// What put found.
const (
	wasSame = iota
	wasOther
	wasNew
)

// put writes a document in the place of the one with its _id. The same bytes are not
// written again: an import that is run twice adds nothing to the log. $eq is used since an
// _id that is a document could else be read as operators.
func put(tx *db.Tx, coll string, doc bson.Raw) (int, error) {
	id, err := doc.LookupErr("_id")
	if err != nil {
		_, err := tx.Insert(coll, doc)
		return wasNew, err
	}
	has, err := tx.Get(coll, id)
	if errors.Is(err, db.ErrNotFound) {
		_, err := tx.Insert(coll, doc)
		return wasNew, err
	}
	if err != nil {
		return 0, err
	}
	if slices.Equal(has.Raw, doc) {
		return wasSame, nil
	}
	filter, err := bson.Marshal(bson.D{{Key: "_id", Value: bson.D{{Key: "$eq", Value: id}}}})
	if err != nil {
		return 0, err
	}
	_, err = tx.Replace(coll, filter, doc, db.UpdateOptions{})
	return wasOther, err
}
