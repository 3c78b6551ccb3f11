package db

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/refused"
	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// StampText returns a stamp as text, for ParseStamp: time, log, hash and index,
// joined by points; all but the index in hexadecimal.
func StampText(s Stamp) string {
	return fmt.Sprintf("%016x.%s.%s.%d", uint64(s.Time), s.Log, s.Hash, s.Index)
}

// ParseStamp reads what StampText gives, and nothing else.
func ParseStamp(text string) (s Stamp, err error) {
	bad := fault.Errorf(fault.BadValue, "not the stamp of an operation: time.log.hash.index")
	p := strings.Split(text, ".")
	if len(text) > 200 || len(p) != 4 {
		return s, bad
	}
	t, err1 := strconv.ParseUint(p[0], 16, 64)
	log, err2 := hex.DecodeString(p[1])
	hash, err3 := hex.DecodeString(p[2])
	i, err4 := strconv.ParseUint(p[3], 10, 32)
	if errors.Join(err1, err2, err3, err4) != nil || len(log) != len(s.Log) || len(hash) != len(s.Hash) {
		return s, bad
	}
	s = Stamp{Time: clock.Time(t), Log: clock.LogID(log), Hash: clock.Hash(hash), Index: uint32(i)}
	if StampText(s) != text {
		return s, bad
	}
	return s, nil
}

// Refusal returns the refusal of the operation at s, or ErrNotFound.
func (db *DB) Refusal(ctx context.Context, s Stamp) (Refusal, error) {
	v, err := db.fold.Acquire()
	if err != nil {
		return Refusal{}, err
	}
	defer v.Release()
	op, err := db.refusalAt(ctx, v, s)
	if err != nil {
		return Refusal{}, err
	}
	return shownRefusal(v, view.EyesOf(ctx), op)
}

// refusalAt finds the refusal of the operation at s.
func (db *DB) refusalAt(ctx context.Context, v *view.View, s Stamp) (*refused.Operation, error) {
	w, err := refused.Start(ctx, v, db.fold.Journal, refused.Options{Log: s.Log, Since: s.Time, Until: s.Time + 1, Void: true})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	for {
		op, err := w.Next(ctx)
		switch {
		case err != nil:
			return nil, err
		case op == nil:
			return nil, fault.Of(ErrNotFound, "there is no refused operation with this stamp")
		case op.Stamp == s:
			return op, nil
		}
	}
}

// A RetryResult says what a retry wrote.
type RetryResult struct {
	Operations int // written
	Changed    int // that changed their documents
}

// Retry writes a refused operation again, now and in this device's log. It is
// judged first, and a *[WriteError] says why it cannot be written. An operation
// of an atomic transaction, which was refused whole, is written again with the
// whole transaction. What was retried is handled, but for what was void.
func (db *DB) Retry(ctx context.Context, s Stamp) (res RetryResult, err error) {
	v, err := db.fold.Acquire()
	if err != nil {
		return res, err
	}
	op, err := db.refusalAt(ctx, v, s)
	var r Refusal
	if err == nil {
		r, err = shownRefusal(v, view.EyesOf(ctx), op)
	}
	v.Release()
	if err != nil {
		return res, err
	}
	rec := op.Record
	if rec.Bad != nil {
		return res, fault.Errorf(fault.BadValue, "a malformed record holds no operation that could be written again: %v", rec.Bad)
	}
	if r.Body == nil {
		return res, ErrRule
	}
	ops := slices.Clone(rec.Ops)
	if !rec.Atomic {
		ops = ops[s.Index : s.Index+1]
	}
	req := &fold.Request{Ctx: ctx, Ops: ops, Mode: fold.Whole, Atomic: rec.Atomic}
	if op := &ops[0]; !rec.Atomic && op.Coll != judge.SystemCollection && (op.Kind == payload.Insert || op.Upsert) {
		if d := db.implicit(op.Coll); d != nil {
			req.Ops = []payload.Op{*d, *op}
		}
	}
	req.Payload = payload.Encode(req.Ops)
	if len(req.Payload) > payload.MaxBytes {
		return res, fault.Of(ErrTooLarge, "the operation takes %d bytes, more than a record can hold", len(req.Payload))
	}
	req.Seeds = seedsOf(req.Ops)
	if err := db.fold.Submit(req); err != nil {
		return res, err
	}
	implied := len(req.Ops) - len(ops)
	if err := retryError(req, implied); err != nil {
		return res, err
	}
	for _, c := range req.Changed[implied:] {
		res.Operations++
		if c {
			res.Changed++
		}
	}
	done := []Stamp{s}
	if rec.Atomic {
		done = nil
		for i := range rec.Ops {
			done = append(done, journal.Stamp(rec, uint32(i)))
		}
	}
	if r.Reason == ReasonVoid {
		return res, nil // it is listed while the record is held
	}
	if err := db.Handle(ctx, true, done...); err != nil && !errors.Is(err, ErrNotFound) {
		return res, fmt.Errorf("the operation is written, but the refusal is not marked: %w", err)
	}
	return res, nil
}

// retryError says which operation of a retry was refused, and why.
func retryError(r *fold.Request, implied int) error {
	for i, e := range r.Results {
		if e != nil {
			return &WriteError{max(0, i-implied), e}
		}
	}
	return r.Err
}

// Handle marks refusals as handled, or as not, on this replica only: it changes
// what RefusedOptions.Unhandled leaves out, and nothing else. A refusal that gets
// another reason is not handled any more, and one of a void record cannot be marked. If one of the stamps, at most 1,000, is
// of no refusal, nothing is marked and the error is ErrNotFound.
func (db *DB) Handle(ctx context.Context, handled bool, stamps ...Stamp) error {
	if len(stamps) > MaxHandled {
		return fault.Of(ErrTooLarge, "%d stamps are too many: at most %d", len(stamps), MaxHandled)
	}
	v, err := db.fold.Acquire()
	if err != nil {
		return err
	}
	var keys [][]byte
	for _, s := range stamps {
		op, err := db.refusalAt(ctx, v, s)
		if err == nil && op.Reason == ReasonVoid {
			err = fault.Of(ErrNotFound, "an operation of a void record cannot be marked: it is listed while the record is held")
		}
		if err != nil {
			v.Release()
			return err
		}
		keys = append(keys, db.fold.Space.Key(keyspace.TagRefused, keyspace.Ref{Time: s.Time, N: op.Record.N, Index: s.Index}.Append(nil)))
	}
	v.Release()
	r := &fold.Request{Ctx: ctx, Do: func() error { return db.fold.MarkHandled(keys, handled) }}
	if err := db.fold.Submit(r); err != nil {
		return err
	}
	return r.Err
}

// MaxHandled is how many refusals [DB.Handle] marks at a time.
const MaxHandled = 1000
