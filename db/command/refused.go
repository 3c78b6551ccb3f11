package command

import (
	"context"
	"encoding/hex"
	"math"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// refusedLimit is how many refusals a command lists if it does not say.
const refusedLimit = 100

// docField returns a field that must be a document, nil if there is none; textField and
// textList do so for a string and for an array of strings.
func docField(cmd bson.Raw, field string) (bson.Raw, error) {
	v := value.Get(cmd, field)
	if v.Exists() && !v.IsDoc() {
		return nil, fault.Errorf(fault.TypeMismatch, "%q must be a document", field)
	}
	return v.Data, nil
}

func textField(cmd bson.Raw, field string) (string, error) {
	v := value.Get(cmd, field)
	if v.Exists() && v.Type != bson.TypeString {
		return "", fault.Errorf(fault.TypeMismatch, "%q must be a string", field)
	}
	return string(v.Str()), nil
}

func textList(cmd bson.Raw, field string) (out []string, err error) {
	v := value.Get(cmd, field)
	if !v.Exists() {
		return nil, nil
	}
	if !v.IsArray() {
		return nil, fault.Errorf(fault.TypeMismatch, "%q must be an array of strings", field)
	}
	it := value.Elements(v.Data)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		if e.Type != bson.TypeString || len(out) >= db.MaxHandled {
			return nil, fault.Errorf(fault.TypeMismatch, "%q must be an array of at most %d strings", field, db.MaxHandled)
		}
		out = append(out, string(e.Str()))
	}
	return out, nil
}

// timeField reads a date as the first time of its millisecond: the lower 16 bits of a clock
// time count within one and are 0 here, so that "since" includes all of the millisecond and
// "until" none of it.
func timeField(cmd bson.Raw, field string) (clock.Time, error) {
	v := value.Get(cmd, field)
	if !v.Exists() {
		return 0, nil
	}
	ms, ok := v.Raw().DateTimeOK()
	if !ok || ms < 0 || ms > math.MaxInt64>>16 {
		return 0, fault.Errorf(fault.TypeMismatch, "%q must be a date from 1970 on", field)
	}
	return clock.Time(ms) << 16, nil
}

// refusedOptions reads {refused: collection or 1, collection, reasons, log, since, until,
// unhandled, newest, skip, limit}. A name in the first field goes before the field
// collection. An unknown reason is an error that lists those there are, since one that is
// misspelled would find nothing and say nothing.
func refusedOptions(name string, cmd bson.Raw) (o db.RefusedOptions, err error) {
	if o.Collection, err = textField(cmd, "collection"); err != nil {
		return o, err
	}
	if name != "" {
		o.Collection = name
	}
	rs, err := textList(cmd, "reasons")
	if err != nil {
		return o, err
	}
	for _, r := range rs {
		if !slices.Contains(db.Reasons(), db.Reason(r)) {
			return o, fault.Errorf(fault.BadValue, "there is no reason %q: the reasons are %s", r, reasonList())
		}
		o.Reasons = append(o.Reasons, db.Reason(r))
	}
	log, err := textField(cmd, "log")
	if err != nil {
		return o, err
	}
	if log != "" {
		b, err := hex.DecodeString(log)
		if err != nil || len(b) != len(o.Log) {
			return o, fault.Errorf(fault.BadValue, "a log is %d bytes in hexadecimal", len(o.Log))
		}
		o.Log = clock.LogID(b)
	}
	if o.Since, err = timeField(cmd, "since"); err != nil {
		return o, err
	}
	if o.Until, err = timeField(cmd, "until"); err != nil {
		return o, err
	}
	o.Unhandled, o.Newest = flag(cmd, "unhandled", false), flag(cmd, "newest", false)
	o.Skip, o.Limit = number(cmd, "skip"), number(cmd, "limit")
	return o, nil
}

// cmdRefused lists refusals, in one batch; more says that there are others, for which the
// next call skips these. Both the number and the bytes end the batch, but one refusal
// always fits.
func (rn *Runner) cmdRefused(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	o, err := refusedOptions(name, cmd)
	if err != nil {
		return nil, err
	}
	limit := o.Limit
	if limit == 0 {
		limit = refusedLimit
	}
	if limit > 0 && limit < math.MaxInt64 {
		o.Limit = limit + 1 // one more tells whether there are more
	}
	body := flag(cmd, "body", true)
	docs, size, more := bson.A{}, 0, false
	for r, err := range rn.db.Refused(ctx, o) {
		if err != nil {
			return nil, err
		}
		d, err := bson.Marshal(refusalDoc(&r, body))
		if err != nil {
			return nil, err
		}
		if int64(len(docs)) == limit || len(docs) > 0 && size+len(d) > maxBatch {
			more = true
			break
		}
		docs, size = append(docs, bson.Raw(d)), size+len(d)
	}
	return bson.D{{Key: "refused", Value: docs}, {Key: "more", Value: more}}, nil
}

// refusalDoc is how a refusal is told; body says to tell the operation, too, if the reader
// may see it.
func refusalDoc(r *db.Refusal, body bool) bson.D {
	d := bson.D{{Key: "stamp", Value: db.StampText(r.Stamp)}, {Key: "collection", Value: r.Collection}}
	if r.ID.Type != 0 {
		d = append(d, bson.E{Key: "id", Value: r.ID})
	}
	d = append(d, bson.E{Key: "operation", Value: r.Operation}, bson.E{Key: "reason", Value: string(r.Reason)},
		bson.E{Key: "message", Value: r.Message}, bson.E{Key: "log", Value: r.Stamp.Log.String()},
		bson.E{Key: "seq", Value: int64(r.Seq)}, bson.E{Key: "time", Value: r.Stamp.Time.Wall()},
		bson.E{Key: "handled", Value: r.Handled})
	if b := r.Body; body && b != nil {
		x := bson.D{{Key: "upsert", Value: b.Upsert}, {Key: "atomic", Value: b.Atomic}, {Key: "operations", Value: int32(b.Operations)}}
		if b.Filter != nil {
			x = append(x, bson.E{Key: "filter", Value: b.Filter})
		}
		if b.Document != nil {
			x = append(x, bson.E{Key: "document", Value: b.Document})
		}
		if len(b.ArrayFilters) > 0 {
			x = append(x, bson.E{Key: "arrayFilters", Value: b.ArrayFilters})
		}
		d = append(d, bson.E{Key: "body", Value: x})
	}
	return d
}

// cmdRetryRefused runs {retryRefused: stamp}. The operation is judged and written again as
// of now, in this device's log; what was retried is handled.
func (rn *Runner) cmdRetryRefused(ctx context.Context, text string, _ bson.Raw) (bson.D, error) {
	s, err := db.ParseStamp(text)
	if err != nil {
		return nil, err
	}
	res, err := rn.db.Retry(ctx, s)
	if err != nil {
		return nil, err
	}
	return bson.D{{Key: "n", Value: int32(res.Operations)}, {Key: "nModified", Value: int32(res.Changed)}}, nil
}

// cmdHandleRefused runs {handleRefused: [stamp…], handled: true or false}. All stamps are
// read before the first is marked. The mark is for people, who have seen to a refusal; it
// is of this replica and changes no document.
func (rn *Runner) cmdHandleRefused(ctx context.Context, _ string, cmd bson.Raw) (bson.D, error) {
	texts, err := textList(cmd, "handleRefused")
	if err != nil {
		return nil, err
	}
	var stamps []clock.Stamp
	for _, t := range texts {
		s, err := db.ParseStamp(t)
		if err != nil {
			return nil, err
		}
		stamps = append(stamps, s)
	}
	if err := rn.db.Handle(ctx, flag(cmd, "handled", true), stamps...); err != nil {
		return nil, err
	}
	return bson.D{{Key: "n", Value: int32(len(stamps))}}, nil
}

func reasonList() string {
	var words []string
	for _, r := range db.Reasons() {
		words = append(words, string(r))
	}
	return strings.Join(words, ", ")
}
