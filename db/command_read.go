package db

import (
	"context"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

func (db *DB) cmdCount(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	if err := checkArgs("count", cmd, countFields); err != nil {
		return nil, err
	}
	n, err := db.Collection(name).CountWith(ctx, sub(cmd, "query"), countOptions(cmd))
	return bson.D{{Key: "n", Value: n}}, err
}

func countOptions(cmd bson.Raw) CountOptions {
	limit := number(cmd, "limit")
	return CountOptions{Skip: number(cmd, "skip"), Limit: max(limit, -limit), Hint: value.Get(cmd, "hint").Raw(), MaxTime: maxTime(cmd)}
}

func (db *DB) cmdDistinct(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	if err := checkArgs("distinct", cmd, distinctFields); err != nil {
		return nil, err
	}
	values, err := db.Collection(name).distinct(ctx, string(value.Get(cmd, "key").Str()), distinctOptions(cmd))
	if values == nil {
		values = []bson.RawValue{}
	}
	return bson.D{{Key: "values", Value: values}}, err
}

func distinctOptions(cmd bson.Raw) FindOptions {
	return FindOptions{Filter: sub(cmd, "query"), Hint: value.Get(cmd, "hint").Raw(), MaxTime: maxTime(cmd)}
}

func findOptions(cmd bson.Raw) FindOptions {
	return FindOptions{
		Filter: sub(cmd, "filter"), Sort: sub(cmd, "sort"), Projection: sub(cmd, "projection"),
		Skip: number(cmd, "skip"), Limit: number(cmd, "limit"), Hint: value.Get(cmd, "hint").Raw(), MaxTime: maxTime(cmd),
	}
}

func maxTime(cmd bson.Raw) time.Duration {
	return time.Duration(min(max(0, number(cmd, "maxTimeMS")), 1<<31)) * time.Millisecond
}

func (db *DB) cmdFind(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	if err := checkArgs("find", cmd, findFields); err != nil {
		return nil, err
	}
	began := time.Now()
	cur, err := db.find(ctx, name, findOptions(cmd))
	if err != nil {
		return nil, err
	}
	n := int64(firstBatch)
	if value.Get(cmd, "batchSize").Exists() {
		n = number(cmd, "batchSize")
	}
	oc := &openCursor{rows: cur, ns: name, idle: cursorIdle, budget: maxTime(cmd)}
	if oc.budget > 0 {
		oc.budget = max(1, oc.budget-time.Since(began))
	}
	if flag(cmd, "noCursorTimeout", false) {
		oc.idle = cursorIdleLong
	}
	return db.batchReply(ctx, oc, 0, n, "firstBatch", flag(cmd, "singleBatch", false))
}

func (db *DB) cmdGetMore(ctx context.Context, _ string, cmd bson.Raw) (bson.D, error) {
	if r, ok, err := db.moreOfFeed(ctx, cmd); ok {
		return r, err
	}
	if err := checkArgs("getMore", cmd, getMoreFields); err != nil {
		return nil, err
	}
	id := number(cmd, "getMore")
	oc, err := db.cursors.take(id, string(value.Get(cmd, "collection").Str()))
	if err != nil {
		return nil, err
	}
	n := number(cmd, "batchSize")
	if n <= 0 {
		n = 1 << 30
	}
	return db.batchReply(ctx, oc, id, n, "nextBatch", false)
}

func (db *DB) cmdKillCursors(_ context.Context, _ string, cmd bson.Raw) (bson.D, error) {
	ids := value.Get(cmd, "cursors")
	if !ids.IsArray() {
		return nil, value.Errorf(value.CodeTypeMismatch, "killCursors needs an array \"cursors\" of numbers")
	}
	killed, missing := bson.A{}, bson.A{}
	it := value.Elements(ids.Data)
	for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
		id, ok := v.Raw().AsInt64OK()
		if !ok {
			return nil, value.Errorf(value.CodeTypeMismatch, "a cursor id must be a number")
		}
		if db.killFeed(id) || db.cursors.kill(id) {
			killed = append(killed, id)
		} else {
			missing = append(missing, id)
		}
	}
	return bson.D{
		{Key: "cursorsKilled", Value: killed},
		{Key: "cursorsNotFound", Value: missing},
		{Key: "cursorsAlive", Value: bson.A{}},
		{Key: "cursorsUnknown", Value: bson.A{}},
	}, nil
}

// cmdExplain explains find, count, distinct, and what update, delete and
// findAndModify look for.
func (db *DB) cmdExplain(ctx context.Context, _ string, cmd bson.Raw) (bson.D, error) {
	inner := value.Get(cmd, "explain")
	if !inner.IsDoc() {
		return nil, value.Errorf(value.CodeTypeMismatch, "explain needs a command document")
	}
	run := true
	if v := value.Get(cmd, "verbosity"); v.Exists() {
		switch verbosity := string(v.Str()); verbosity {
		case "queryPlanner":
			run = false
		case "executionStats", "allPlansExecution":
		default:
			return nil, value.Errorf(value.CodeBadValue, "explain: unknown verbosity %q", verbosity)
		}
	}
	it := value.Elements(inner.Data)
	k, v, _ := it.Next()
	if name := strings.ToLower(string(k)); name == "aggregate" {
		d, err := db.explainAggregate(ctx, string(v.Str()), inner.Data, run)
		return append(d, bson.E{Key: "command", Value: bson.Raw(inner.Data)}), err
	}
	o, count, err := explainedOptions(strings.ToLower(string(k)), inner.Data)
	if err != nil {
		return nil, err
	}
	d, err := db.Collection(string(v.Str())).explain(ctx, o, count, run)
	if err != nil {
		return nil, err
	}
	return append(d, bson.E{Key: "command", Value: bson.Raw(inner.Data)}), nil
}

// explainedOptions returns what a command looks for; count says that only the
// number matters.
func explainedOptions(name string, cmd bson.Raw) (o FindOptions, count bool, err error) {
	switch name {
	case "find":
		return findOptions(cmd), false, checkArgs(name, cmd, findFields)
	case "count":
		c := countOptions(cmd)
		o = FindOptions{Filter: sub(cmd, "query"), Skip: c.Skip, Limit: c.Limit, Hint: c.Hint, MaxTime: c.MaxTime}
		return o, true, checkArgs(name, cmd, countFields)
	case "distinct":
		return distinctOptions(cmd), false, checkArgs(name, cmd, distinctFields)
	case "findandmodify":
		return FindOptions{Filter: sub(cmd, "query"), Sort: sub(cmd, "sort"), Limit: 1}, false, nil
	}
	field := map[string]string{"update": "updates", "delete": "deletes"}[name]
	if field == "" {
		return o, false, value.Errorf(59, "explain does not know the command %q", name)
	}
	ops, err := list(cmd, field)
	if err != nil || len(ops) != 1 {
		return o, false, value.Errorf(value.CodeInvalidOptions, "explain needs one operation in %q", field)
	}
	if o.Filter = sub(ops[0], "q"); !flag(ops[0], "multi", false) && number(ops[0], "limit") != 0 {
		o.Limit = 1
	}
	return o, false, nil
}

// A argKind says what a field of a command may be.
type argKind int

const (
	anyArg argKind = iota
	docArg
	textArg
	boolArg
	countArg  // a whole number, not below 0
	numberArg // a whole number
	offArg    // refused if it is true
	noArg     // refused
)

// Fields that commands of drivers carry.
var commonFields = map[string]argKind{
	"$db": anyArg, "$readPreference": anyArg, "$clusterTime": anyArg, "lsid": anyArg, "txnNumber": anyArg,
	"autocommit": anyArg, "startTransaction": anyArg, "apiVersion": anyArg, "apiStrict": anyArg,
	"apiDeprecationErrors": anyArg, "comment": anyArg, "readConcern": anyArg, "maxTimeMS": countArg,
}

var findFields = map[string]argKind{
	"find": textArg, "filter": docArg, "sort": docArg, "projection": docArg, "hint": anyArg, "skip": countArg,
	"limit": countArg, "batchSize": countArg, "singleBatch": boolArg, "noCursorTimeout": boolArg,
	"allowPartialResults": boolArg, "allowDiskUse": boolArg, "oplogReplay": boolArg, "tailable": offArg,
	"awaitData": offArg, "returnKey": offArg, "showRecordId": offArg, "min": noArg, "max": noArg, "let": noArg,
	"collation": noArg,
}

var countFields = map[string]argKind{
	"count": textArg, "query": docArg, "skip": countArg, "limit": numberArg, "hint": anyArg, "collation": noArg,
	"fields": anyArg,
}

var distinctFields = map[string]argKind{
	"distinct": textArg, "key": textArg, "query": docArg, "hint": anyArg, "collation": noArg,
}

var getMoreFields = map[string]argKind{"getMore": numberArg, "collection": textArg, "batchSize": countArg}

// checkArgs checks a command's fields; what is not known is an error.
func checkArgs(command string, cmd bson.Raw, kinds map[string]argKind) error {
	it := value.Elements(cmd)
	for first := true; ; first = false {
		k, v, ok := it.Next()
		if !ok {
			return nil
		}
		kind, known := kinds[string(k)]
		if !known {
			kind, known = commonFields[string(k)]
		}
		if !known && first { // the command itself, in other capitals
			continue
		}
		if !known {
			return value.Errorf(40415, "BSON field '%s.%s' is an unknown field.", command, k)
		}
		if err := checkArg(command+"."+string(k), kind, v); err != nil {
			return err
		}
	}
}

func checkArg(name string, kind argKind, v value.Value) error {
	n, whole := v.Raw().AsInt64OK()
	whole = whole && v.IsNumber() && value.Equal(v, value.Int64(n))
	simple := v.IsDoc() && string(value.Get(v.Data, "locale").Str()) == "simple"
	empty := v.IsDoc() && len(v.Data) <= 5
	good, want := true, ""
	switch kind {
	case docArg:
		good, want = v.IsDoc() || v.Type == bson.TypeNull, "a document"
	case textArg:
		good, want = v.Type == bson.TypeString, "a string"
	case boolArg:
		good, want = v.Type == bson.TypeBoolean || v.IsNumber(), "a boolean"
	case countArg, numberArg:
		if good, want = whole, "a whole number"; good && kind == countArg && n < 0 {
			return value.Errorf(51024, "BSON field '%s' value must be >= 0, actual value '%d'", name, n)
		}
	case offArg, noArg:
		if v.Bool() || kind == noArg && !simple && !empty {
			return value.Errorf(value.CodeCommandNotSupported, "%s is not supported", name)
		}
	}
	if !good {
		return value.Errorf(value.CodeTypeMismatch, "BSON field '%s' must be %s", name, want)
	}
	return nil
}
