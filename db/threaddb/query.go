// Package threaddb translates queries of Textile's ThreadDB, as its clients send
// them, into MongoDB filters and sorts, so that an app can keep those it has.
//
//	Parse ── Query ── Find
//
// A query is {ands: [{fieldPath, operation, value}…], ors: [query…], sort:
// {fieldPath, desc}, seek, limit, skip, index}. A document matches if it fits
// all of ands, or any of ors. What the original answered wrongly without a
// word (a sort after the limit, a skip without a limit, results that end at the
// first document without the field) is answered as it reads.
package threaddb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/fault"
)

// ErrQuery reports text that is no query of ThreadDB.
var ErrQuery = fault.New(fault.FailedToParse, "the text is not a ThreadDB query")

// Bounds of a query.
const (
	MaxBytes    = 1 << 20
	MaxDepth    = 32
	MaxCriteria = 1000
	maxPath     = 1 << 10 // bytes
)

// A Query is a translated query.
type Query struct {
	Filter      bson.Raw
	Sort        bson.Raw // nil: by _id
	Skip, Limit int64    // a Limit of 0 means none
	Index       string   // path of the index that it asks for, "" for none
}

// Options returns what package db takes beside the filter.
func (q Query) Options() db.FindOptions {
	return db.FindOptions{Sort: q.Sort, Skip: q.Skip, Limit: q.Limit}
}

// Parse translates a query. Names are read without regard to case, as the original does; a
// name or value that it does not know is an error, never nothing. The text comes from
// outside and is bounded before it is read: its bytes here, its depth and its comparisons
// while they are translated. The filter is one of package db, which checks it once more.
func Parse(text []byte) (Query, error) {
	if len(text) > MaxBytes {
		return Query{}, fault.Of(ErrQuery, "the ThreadDB query is longer than %d bytes", MaxBytes)
	}
	p := &parser{}
	raw, err := object("the query", text)
	if err != nil {
		return Query{}, err
	}
	return p.top(raw)
}

// A parser counts the comparisons of one query, those of all its ors together: the bound is
// on the filter that comes of them.
type parser struct{ criteria int }

// object reads an object into its members by lower-case name. encoding/json would fill a
// struct without regard to case as well, but silently take the last of two members and drop
// those it does not know.
func object(what string, text []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	t, err := d.Token()
	if err != nil || t != json.Delim('{') {
		return nil, fault.Of(ErrQuery, "invalid %s: want an object", what)
	}
	out := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, fault.Of(ErrQuery, "%s: %v", what, err)
		}
		lower := strings.ToLower(name)
		if _, twice := out[lower]; twice {
			return nil, fault.Of(ErrQuery, "%s has %.40q twice", what, name)
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, fault.Of(ErrQuery, "%s.%.40s: %v", what, name, err)
		}
		out[lower] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, fault.Of(ErrQuery, "%s: %v", what, err)
	}
	if _, err := d.Token(); err == nil {
		return nil, fault.Of(ErrQuery, "unexpected text after %s", what)
	}
	return out, nil
}

// null reports whether a member is absent, as the original's clients also write.
func null(v json.RawMessage) bool { return len(v) == 0 || string(v) == "null" }

// known refuses members that are not among names, which are in lower case. One that was
// ignored could widen what the query finds.
func known(what string, m map[string]json.RawMessage, names ...string) error {
	for name := range m {
		ok := false
		for _, n := range names {
			ok = ok || name == n
		}
		if !ok {
			return fault.Of(ErrQuery, "unknown field %.40[2]q of %[1]s: want %[3]s", what, name, strings.Join(names, ", "))
		}
	}
	return nil
}

// top translates the whole query. Seek begins at a document and includes it: it is a lower
// bound on _id, or an upper one where the sort by _id goes down. It joins the whole filter
// by $and, so it also bounds what ors find.
func (p *parser) top(m map[string]json.RawMessage) (q Query, err error) {
	filter, err := p.match("the query", m, 0)
	if err != nil {
		return q, err
	}
	if q.Skip, err = whole("skip", m["skip"]); err != nil {
		return q, err
	}
	if q.Limit, err = whole("limit", m["limit"]); err != nil {
		return q, err
	}
	if q.Index, err = text("index", m["index"]); err != nil {
		return q, err
	}
	sort, desc, err := sortOf(m["sort"])
	if err != nil {
		return q, err
	}
	seek, err := text("seek", m["seek"])
	if err != nil {
		return q, err
	}
	if seek != "" {
		if sort != nil && sort[0].Key != "_id" {
			return q, fault.Of(ErrQuery, "seek needs the order of _id, not a sort by %s", sort[0].Key)
		}
		from := "$gte"
		if desc {
			from = "$lte"
		}
		filter = bson.D{{Key: "$and", Value: bson.A{filter, bson.D{{Key: "_id", Value: bson.D{{Key: from, Value: seek}}}}}}}
	}
	if q.Filter, err = bson.Marshal(filter); err != nil {
		return q, fault.Of(ErrQuery, "%v", err)
	}
	if sort != nil {
		if q.Sort, err = bson.Marshal(sort); err != nil {
			return q, fault.Of(ErrQuery, "%v", err)
		}
	}
	return q, nil
}

// match translates ands and ors. Without ands, all documents match, whatever ors say, as in
// the original. what names the part in errors. ors are alternatives to all of ands
// together, each a query of its own with no order and no bounds; depth counts how far they
// nest.
func (p *parser) match(what string, m map[string]json.RawMessage, depth int) (bson.D, error) {
	if depth > MaxDepth {
		return nil, fault.Of(ErrQuery, "the query is nested deeper than %d", MaxDepth)
	}
	if err := known(what, m, "ands", "ors", "sort", "seek", "limit", "skip", "index"); err != nil {
		return nil, err
	}
	ands, err := list("ands", m["ands"])
	if err != nil {
		return nil, err
	}
	ors, err := list("ors", m["ors"])
	if err != nil {
		return nil, err
	}
	all := bson.A{}
	for _, c := range ands {
		d, err := p.criterion(c)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	either := bson.A{bson.D{{Key: "$and", Value: all}}}
	for _, o := range ors {
		part, err := object("a query of ors", o)
		if err != nil {
			return nil, err
		}
		for _, name := range []string{"sort", "seek", "limit", "skip", "index"} {
			if !empty(part[name]) {
				return nil, fault.Of(ErrQuery, "%s can only be set for the whole query, not in ors", name)
			}
		}
		d, err := p.match("a query of ors", part, depth+1)
		if err != nil {
			return nil, err
		}
		either = append(either, d)
	}
	switch {
	case len(all) == 0:
		return bson.D{}, nil
	case len(either) == 1:
		return bson.D{{Key: "$and", Value: all}}, nil
	}
	return bson.D{{Key: "$or", Value: either}}, nil
}

// empty reports whether a member says nothing, such as the zero values that the
// original's Go client writes.
func empty(v json.RawMessage) bool {
	switch string(v) {
	case "", "null", `""`, "0", "false":
		return true
	}
	m, err := object("", v)
	if err != nil {
		return false
	}
	for _, x := range m {
		if !empty(x) {
			return false
		}
	}
	return true
}

func list(what string, v json.RawMessage) ([]json.RawMessage, error) {
	if null(v) {
		return nil, nil
	}
	var out []json.RawMessage
	if err := json.Unmarshal(v, &out); err != nil {
		return nil, fault.Of(ErrQuery, "invalid %s: want an array", what)
	}
	return out, nil
}

// criterion translates one comparison. The error of an operation or a value names the path,
// as a query may have many. Ne is $ne, which a document without the field matches too.
func (p *parser) criterion(v json.RawMessage) (bson.D, error) {
	if p.criteria++; p.criteria > MaxCriteria {
		return nil, fault.Of(ErrQuery, "the query has more than %d comparisons", MaxCriteria)
	}
	m, err := object("a comparison", v)
	if err != nil {
		return nil, err
	}
	if err := known("a comparison", m, "fieldpath", "operation", "value", "query"); err != nil {
		return nil, err
	}
	if !null(m["query"]) {
		return nil, fault.Of(ErrQuery, "a comparison cannot have a query of its own")
	}
	path, err := pathOf(m["fieldpath"])
	if err != nil {
		return nil, err
	}
	op, err := operation(m["operation"])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	value, err := valueOf(m["value"])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if n, ok := value.(int64); ok && path == "_mod" {
		value = bson.DateTime(n / 1e6) // the original's is a number of nanoseconds, ours a date
	}
	return bson.D{{Key: path, Value: bson.D{{Key: op, Value: value}}}}, nil
}

// pathOf reads the path of a field, in points as in MongoDB. A name that begins with $
// would be an operator of the filter, so it is no name here.
func pathOf(v json.RawMessage) (string, error) {
	path, err := text("fieldPath", v)
	if err != nil {
		return "", err
	}
	if path == "" || len(path) > maxPath {
		return "", fault.Of(ErrQuery, "invalid fieldPath: want 1 to %d bytes", maxPath)
	}
	for part := range strings.SplitSeq(path, ".") {
		if part == "" || part[0] == '$' || strings.ContainsRune(part, 0) {
			return "", fault.Of(ErrQuery, "invalid fieldPath %.80q: its names cannot be empty or begin with $", path)
		}
	}
	return path, nil
}

// operation reads an operation: its number, as clients send it, or its name. The lists
// agree by place, which is the number that the original gives an operation.
func operation(v json.RawMessage) (string, error) {
	names := []string{"eq", "ne", "gt", "lt", "ge", "le"}
	ours := []string{"$eq", "$ne", "$gt", "$lt", "$gte", "$lte"}
	if null(v) {
		return ours[0], nil // clients leave the zero out
	}
	var n int
	if err := json.Unmarshal(v, &n); err == nil {
		if n >= 0 && n < len(ours) {
			return ours[n], nil
		}
		return "", fault.Of(ErrQuery, "unknown operation %d: want 0 Eq, 1 Ne, 2 Gt, 3 Lt, 4 Ge and 5 Le", n)
	}
	var name string
	if err := json.Unmarshal(v, &name); err == nil {
		for i, known := range names {
			if strings.EqualFold(name, known) {
				return ours[i], nil
			}
		}
	}
	return "", fault.Of(ErrQuery, "unknown operation %.40s: want 0 Eq, 1 Ne, 2 Gt, 3 Lt, 4 Ge and 5 Le", v)
}

// valueOf reads {string: …}, {bool: …} or {float: …}. A float that is whole and below 2^62
// becomes an integer, which compares with numbers of all types alike, and can be a time of
// _mod.
func valueOf(v json.RawMessage) (any, error) {
	m, err := object("value", v)
	if err != nil {
		return nil, err
	}
	if err := known("value", m, "string", "bool", "float"); err != nil {
		return nil, err
	}
	var out any
	found := 0
	for name, to := range map[string]any{"string": new(string), "bool": new(bool), "float": new(float64)} {
		if null(m[name]) {
			continue
		}
		found++
		if err := json.Unmarshal(m[name], to); err != nil {
			return nil, fault.Of(ErrQuery, "invalid value %.60s: want a %s", m[name], name)
		}
		switch x := to.(type) {
		case *string:
			out = *x
		case *bool:
			out = *x
		case *float64:
			out = *x
			if *x == math.Trunc(*x) && math.Abs(*x) < 1<<62 {
				out = int64(*x)
			}
		}
	}
	if found != 1 {
		return nil, fault.Of(ErrQuery, "invalid value: want one of string, bool and float")
	}
	return out, nil
}

// text reads a member that is a string, "" for none.
func text(what string, v json.RawMessage) (string, error) {
	if null(v) {
		return "", nil
	}
	var s string
	if err := json.Unmarshal(v, &s); err != nil {
		return "", fault.Of(ErrQuery, "invalid %s: want a string", what)
	}
	return s, nil
}

// whole reads a member that is a number without a fraction, 0 for none, which means no
// bound.
func whole(what string, v json.RawMessage) (int64, error) {
	if null(v) {
		return 0, nil
	}
	var n int64
	if err := json.Unmarshal(v, &n); err != nil || n < 0 {
		return 0, fault.Of(ErrQuery, "invalid %s: want a whole number from 0", what)
	}
	return n, nil
}

// sortOf reads {fieldPath, desc}; nil for none. The zero value that the original's Go
// client writes for no sort, {fieldPath: "", desc: false}, is none.
func sortOf(v json.RawMessage) (bson.D, bool, error) {
	if null(v) || empty(v) {
		return nil, false, nil
	}
	m, err := object("sort", v)
	if err != nil {
		return nil, false, err
	}
	if err := known("sort", m, "fieldpath", "desc"); err != nil {
		return nil, false, err
	}
	path, err := pathOf(m["fieldpath"])
	if err != nil {
		return nil, false, err
	}
	var desc bool
	if !null(m["desc"]) {
		if err := json.Unmarshal(m["desc"], &desc); err != nil {
			return nil, false, fault.Of(ErrQuery, "invalid sort.desc: want true or false")
		}
	}
	direction := int32(1)
	if desc {
		direction = -1
	}
	return bson.D{{Key: path, Value: direction}}, desc, nil
}
