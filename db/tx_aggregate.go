package db

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/pipeline"
	"github.com/weftdb/weft/db/internal/search"
	"github.com/weftdb/weft/internal/fault"
)

// Aggregate runs a pipeline on what the transaction sees: its moment and its own
// writes. All that the pipeline asks of collections counts as read. The result
// has at most 64 MiB; MaxTime is not used, the transaction has a context.
func (tx *Tx) Aggregate(collection string, stages any, o AggregateOptions) ([]bson.Raw, error) {
	if tx.ended {
		return nil, ErrClosed
	}
	now := tx.db.fold.Wall()
	p, vars, hint, err := o.compile(stages, now)
	if err != nil {
		return nil, err
	}
	if into := p.Into(); into != nil {
		return nil, fault.Errorf(fault.NotInTransaction, "%s cannot be used in a transaction", into.Op)
	}
	run, err := p.Run(&txSource{tx, o.NoIndex, hint}, collection,
		pipeline.Options{MaxBytes: o.MaxBytes, Now: now, Vars: vars, Stop: func() error { return tx.ctx.Err() }})
	if err != nil {
		return nil, err
	}
	defer run.Close()
	var out []bson.Raw
	size := 0
	for {
		doc, err := run.Next()
		if doc == nil || err != nil {
			return out, err
		}
		if size += len(doc); size > search.MaxSort {
			return nil, fault.Errorf(fault.TooLarge, "the result has more than %d MiB", search.MaxSort>>20)
		}
		out = append(out, append(bson.Raw(nil), doc...))
	}
}

// A txSource is a transaction as the source of a pipeline.
type txSource struct {
	tx      *Tx
	noIndex bool
	hint    bson.RawValue // for the first query
}

// Open finds documents, all at once.
func (s *txSource) Open(collection string, q pipeline.Query) (pipeline.Cursor, error) {
	o := search.Options{Filter: q.Filter, Sort: q.Sort, Skip: q.Skip, Limit: q.Limit, NoIndex: s.noIndex, Hint: s.hint}
	s.hint = bson.RawValue{}
	docs, err := s.tx.list(collection, o)
	return &txDocs{docs}, err
}

type txDocs struct{ docs []bson.Raw }

// Next returns the next document, nil at the end.
func (d *txDocs) Next() ([]byte, error) {
	if len(d.docs) == 0 {
		return nil, nil
	}
	doc := d.docs[0]
	d.docs = d.docs[1:]
	return doc, nil
}

// Close drops the documents.
func (d *txDocs) Close() { d.docs = nil }
