package db

import (
	"context"
	"iter"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// A Reason says why an operation was refused; a stable word.
type Reason string

// The reasons.
const (
	ReasonMalformed  Reason = "malformed"  // the record's payload is not a transaction
	ReasonDuplicate  Reason = "duplicate"  // a document with the _id exists
	ReasonNoMatch    Reason = "no_match"   // no document matches the filter any more
	ReasonSchema     Reason = "schema"     // the document would not fit the schema
	ReasonUpdate     Reason = "update"     // the filter or update cannot be applied
	ReasonReserved   Reason = "reserved"   // the document would set _mod
	ReasonDefinition Reason = "definition" // a definition that cannot be in force
	ReasonAtomic     Reason = "atomic"     // another operation of the atomic transaction was refused
	ReasonTooLarge   Reason = "too_large"  // the document would be over its limit
)

// A Refusal is an operation that the fold refused.
type Refusal struct {
	Stamp      clock.Stamp
	Seq        uint64 // of its record in its log
	Operation  string // insert, update, replace, delete; "" for a malformed record
	Collection string
	ID         bson.RawValue
	Reason     Reason
	Message    string
}

// Refused walks the refused operations in the order of their times.
func (db *DB) Refused(ctx context.Context) iter.Seq2[Refusal, error] {
	return func(yield func(Refusal, error) bool) {
		v, err := db.acquire()
		if err != nil {
			yield(Refusal{}, err)
			return
		}
		defer v.release()
		p := db.key(tagRefused)
		it := v.snap.Iterate(store.Prefix(p))
		defer it.Close()
		for ; it.Valid(); it.Next() {
			r, err := db.refusal(it, len(p))
			if err == nil {
				err = ctx.Err()
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
		if err := it.Err(); err != nil {
			yield(Refusal{}, err)
		}
	}
}

func (db *DB) refusal(it store.Iterator, prefix int) (r Refusal, err error) {
	s := scanner{b: it.Key()[prefix:]}
	at := s.ref()
	v, err := it.Value()
	if err != nil {
		return r, err
	}
	doc := bson.Raw(slices.Clone(v))
	as, err := db.journal.Arrivals(at.n-1, 1)
	if err != nil {
		return r, err
	}
	if s.bad || len(as) == 0 || as[0].N != at.n {
		return r, errCorrupt
	}
	id := as[0].ID
	r.Stamp = clock.Stamp{Time: at.time, Log: id.Log, Hash: id.Hash, Index: at.index}
	r.Seq = id.Seq
	n, _ := doc.Lookup("code").Int32OK()
	r.Reason = code(n).reason()
	r.Message, _ = doc.Lookup("message").StringValueOK()
	r.Operation, _ = doc.Lookup("op").StringValueOK()
	r.Collection, _ = doc.Lookup("coll").StringValueOK()
	r.ID = doc.Lookup("id")
	return r, nil
}
