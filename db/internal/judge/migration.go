package judge

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/update"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A MigrationStep is one declared change of a migration: an update whose filter does not
// match what it has changed, so that doing it again changes nothing.
type MigrationStep struct {
	kind   string   // rename, default, drop, transform
	paths  []string // that it reads and writes; nil if it may write any
	filter bson.Raw
	match  *query.Filter
	update bson.Raw
	apply  *update.Update
	to     string // of a transform: the type to convert to, "" if it is an update
}

// The bounds of a migration.
const (
	maxSteps    = 100
	maxStepText = 64 << 10
)

// MigrationText encodes steps as a definition keeps them.
func MigrationText(steps []bson.Raw) (string, error) {
	a := bson.A{}
	for _, s := range steps {
		if err := value.Validate(s); err != nil {
			return "", err
		}
		a = append(a, s)
	}
	t, b, err := bson.MarshalValue(a)
	if err != nil {
		return "", err
	}
	text := string(value.AppendJSONValue(nil, value.Value{Type: t, Data: b}, true))
	_, err = ParseMigration(text)
	return text, err
}

// ParseMigration reads the steps that [MigrationText] wrote; "" is none.
func ParseMigration(text string) (out []MigrationStep, err error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > maxStepText {
		return nil, fault.Of(keyspace.ErrTooLarge, "the steps of a migration have at most %d bytes", maxStepText)
	}
	v, err := value.ParseJSONValue([]byte(text))
	if err != nil {
		return nil, err
	}
	if !v.IsArray() {
		return nil, fault.Errorf(fault.TypeMismatch, "the steps of a migration must be an array")
	}
	it := value.Elements(v.Data)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		s, err := parseStep(e)
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", len(out), err)
		}
		if out = append(out, s); len(out) > maxSteps {
			return nil, fault.Of(keyspace.ErrTooLarge, "a migration has at most %d steps", maxSteps)
		}
	}
	return out, nil
}

// parseStep reads one step, and makes of it the filter and update that it stands for:
//
//	{rename: {from: "a", to: "b"}}        {a: {$exists: true}, b: {$exists: false}}, {$rename: {a: "b"}}
//	{default: {path: "n", value: 0}}      {n: {$exists: false}}, {$set: {n: 0}}
//	{transform: {path: "n", to: "int"}}   {n: {$eq: its value}}, {$set: {n: the value as int}}
func parseStep(v value.Value) (s MigrationStep, err error) {
	var arg value.Value
	if v.IsDoc() {
		it := value.Elements(v.Data)
		k, e, _ := it.Next()
		if _, _, more := it.Next(); !more {
			s.kind, arg = string(k), e
		}
	}
	if s.kind == "" || !arg.IsDoc() {
		return s, fault.Errorf(fault.FailedToParse, "a step is a document of one field, whose value is a document")
	}
	f := fields{doc: arg.Data}
	var where, upd any
	switch s.kind {
	case "rename":
		from, to := f.path("from"), f.path("to")
		s.paths = []string{from, to}
		where = bson.D{{Key: from, Value: present(true)}, {Key: to, Value: present(false)}}
		upd = bson.D{{Key: "$rename", Value: bson.D{{Key: from, Value: to}}}}
	case "default":
		p := f.path("path")
		s.paths = []string{p}
		where = bson.D{{Key: p, Value: present(false)}}
		upd = bson.D{{Key: "$set", Value: bson.D{{Key: p, Value: f.any("value").Raw()}}}}
	case "drop":
		p := f.path("path")
		s.paths = []string{p}
		where = bson.D{{Key: p, Value: present(true)}}
		upd = bson.D{{Key: "$unset", Value: bson.D{{Key: p, Value: ""}}}}
	case "transform":
		if value.Get(arg.Data, "to").Exists() {
			p := f.path("path")
			s.paths, s.to = []string{p}, string(f.any("to").Str())
			if _, ok := converters[s.to]; !ok {
				return s, fault.Errorf(fault.BadValue, "transform: cannot convert to %q", s.to)
			}
			where = bson.D{{Key: p, Value: present(true)}}
		} else {
			where, upd = f.any("where").Raw(), f.any("update").Raw()
		}
	default:
		return s, fault.Errorf(fault.FailedToParse, "a step is rename, default, drop or transform, not %q", s.kind)
	}
	if err := f.done(s.kind); err != nil {
		return s, err
	}
	return s, s.compile(where, upd)
}

// present is the condition that a field is there, or not.
func present(yes bool) bson.D { return bson.D{{Key: "$exists", Value: yes}} }

// compile compiles the filter and, if there is one, the update. A conversion has none
// until it meets a document, whose value it names.
func (s *MigrationStep) compile(where, upd any) (err error) {
	if s.filter, err = rawOf(where); err != nil {
		return err
	}
	if s.match, err = query.Compile(s.filter); err != nil {
		return err
	}
	if upd == nil {
		return nil
	}
	if s.update, err = rawOf(upd); err != nil {
		return err
	}
	if update.IsReplacement(s.update) {
		return fault.Errorf(fault.FailedToParse, "transform: update must have update operators")
	}
	s.apply, err = update.Compile(s.update, nil)
	return err
}

func rawOf(v any) (bson.Raw, error) {
	if rv, ok := v.(bson.RawValue); ok {
		if rv.Type != bson.TypeEmbeddedDocument {
			return nil, fault.Errorf(fault.TypeMismatch, "transform: where and update must be documents")
		}
		return rv.Value, nil
	}
	return bson.Marshal(v)
}

// fields reads the fields of a step and remembers what is wrong with them.
type fields struct {
	doc  []byte
	used int
	err  error
}

// any returns a field that must be there.
func (f *fields) any(name string) value.Value {
	v := value.Get(f.doc, name)
	if !v.Exists() {
		if f.err == nil {
			f.err = fault.Errorf(fault.FailedToParse, "%q is missing", name)
		}
		return value.Null()
	}
	f.used++
	return v
}

// path returns a field that names a place in a document, which a step may change: not the
// _id, and not _mod.
func (f *fields) path(name string) string {
	s := string(f.any(name).Str())
	_, err := value.ParsePath(s)
	switch {
	case f.err != nil:
	case err != nil:
		f.err = err
	case s == "" || s == "_id" || strings.HasPrefix(s, "_id.") || s == "_mod" || strings.HasPrefix(s, "$"):
		f.err = fault.Errorf(fault.BadValue, "%q cannot be %q", name, s)
	}
	return s
}

// done reports a missing or an unknown field.
func (f *fields) done(kind string) error {
	if f.err != nil {
		return fmt.Errorf("%s: %w", kind, f.err)
	}
	n := 0
	it := value.Elements(f.doc)
	for _, _, ok := it.Next(); ok; _, _, ok = it.Next() {
		n++
	}
	if n != f.used {
		return fault.Errorf(fault.FailedToParse, "%s: a field that it does not have", kind)
	}
	return nil
}

// A Rewrite is one update of one document, as a migration writes it.
type Rewrite struct{ Filter, Update bson.Raw }

// Rewrites returns the updates that steps make of doc, and the document after
// them. Steps that touch different paths become one update, which carries over
// what other writers do to those paths meanwhile.
func Rewrites(steps []MigrationStep, doc bson.Raw) (out []Rewrite, after bson.Raw, err error) {
	m := merger{}
	flush := func() error {
		r, err := m.rewrite()
		if err == nil && r.Update != nil {
			out = append(out, r)
		}
		m = merger{}
		return err
	}
	for i := range steps {
		s := &steps[i]
		if !s.match.Match(doc) {
			continue
		}
		filter, upd, apply, ok := s.on(doc)
		if !ok {
			continue
		}
		next, _, err := apply.Apply(doc, update.Context{})
		if err != nil {
			return nil, nil, fmt.Errorf("step %d: %w", i, err)
		}
		if s.paths == nil && s.match.Match(next) {
			return nil, nil, fault.Errorf(fault.BadValue, "step %d: where still matches what update gave, so doing it again would change it again", i)
		}
		if m.clashes(s.paths) {
			if err := flush(); err != nil {
				return nil, nil, err
			}
		}
		m.add(s.paths, filter, upd)
		doc = next
	}
	if err := flush(); err != nil {
		return nil, nil, err
	}
	return out, doc, nil
}

// on returns the update that s makes of doc; ok is false if it makes none.
func (s *MigrationStep) on(doc bson.Raw) (filter, upd bson.Raw, apply *update.Update, ok bool) {
	if s.to == "" {
		return s.filter, s.update, s.apply, true
	}
	p, err := value.ParsePath(s.paths[0])
	if err != nil {
		return nil, nil, nil, false
	}
	old := p.Lookup(doc)
	now, ok := converters[s.to](old)
	if !ok || now.Type == old.Type {
		return nil, nil, nil, false
	}
	filter, err = bson.Marshal(bson.D{{Key: s.paths[0], Value: bson.D{{Key: "$eq", Value: old.Raw()}}}})
	if err == nil {
		upd, err = bson.Marshal(bson.D{{Key: "$set", Value: bson.D{{Key: s.paths[0], Value: now.Raw()}}}})
	}
	if err == nil {
		apply, err = update.Compile(upd, nil)
	}
	return filter, upd, apply, err == nil
}

// A merger makes one update of steps that touch different paths. One that touches a
// path of another needs the outcome of that, and so an update of its own.
//
//	rename a → b, default c    one update: {$rename: {a: "b"}, $set: {c: …}}
//	rename a → b, drop b       two, because the second sees what the first made
type merger struct {
	paths   []string
	any     bool // it may write any path
	filters []bson.Raw
	updates []bson.Raw
}

// clashes reports whether steps that touch paths must not be in one update with those
// collected: MongoDB's operators refuse two changes of one path, or of a path and one
// below it.
func (m *merger) clashes(paths []string) bool {
	if len(m.updates) == 0 {
		return false
	}
	if m.any || paths == nil {
		return true
	}
	for _, p := range paths {
		for _, q := range m.paths {
			if p == q || strings.HasPrefix(p, q+".") || strings.HasPrefix(q, p+".") {
				return true
			}
		}
	}
	return false
}

// add takes the update of one more step.
func (m *merger) add(paths []string, filter, upd bson.Raw) {
	m.any = m.any || paths == nil
	m.paths = append(m.paths, paths...)
	m.filters, m.updates = append(m.filters, filter), append(m.updates, upd)
}

// rewrite makes the update of what is collected: all filters must match, and each
// operator has the fields of all.
func (m *merger) rewrite() (r Rewrite, err error) {
	switch len(m.updates) {
	case 0:
		return r, nil
	case 1:
		return Rewrite{m.filters[0], m.updates[0]}, nil
	}
	if r.Filter, err = bson.Marshal(bson.D{{Key: "$and", Value: m.filters}}); err != nil {
		return r, err
	}
	var upd bson.D
	at := map[string]int{}
	for _, u := range m.updates {
		it := value.Elements(u)
		for op, args, ok := it.Next(); ok; op, args, ok = it.Next() {
			i, had := at[string(op)]
			if !had {
				i = len(upd)
				at[string(op)] = i
				upd = append(upd, bson.E{Key: string(op), Value: bson.D{}})
			}
			all, _ := upd[i].Value.(bson.D)
			fs := value.Elements(args.Data)
			for k, v, ok := fs.Next(); ok; k, v, ok = fs.Next() {
				all = append(all, bson.E{Key: string(k), Value: v.Raw()})
			}
			upd[i].Value = all
		}
	}
	r.Update, err = bson.Marshal(upd)
	return r, err
}

// converters convert a scalar to a type; ok is false where there is no exact
// counterpart, and the document is left alone.
var converters = map[string]func(value.Value) (_ value.Value, ok bool){
	"string": toString,
	"int": func(v value.Value) (value.Value, bool) {
		n, ok := toInt(v)
		return value.Int32(int32(n)), ok && n == int64(int32(n))
	},
	"long": func(v value.Value) (value.Value, bool) {
		n, ok := toInt(v)
		return value.Int64(n), ok
	},
	"double": toDouble,
	"bool": func(v value.Value) (value.Value, bool) {
		switch {
		case v.Type == bson.TypeBoolean:
			return v, true
		case string(v.Str()) == "true", string(v.Str()) == "false":
			return boolean(string(v.Str()) == "true"), true
		case v.Type == bson.TypeInt32 || v.Type == bson.TypeInt64:
			return boolean(v.Int() != 0), v.Int() == 0 || v.Int() == 1
		}
		return v, false
	},
	"date": func(v value.Value) (value.Value, bool) {
		switch v.Type {
		case bson.TypeDateTime:
			return v, true
		case bson.TypeInt64:
			return value.DateTime(v.Int()), true
		case bson.TypeString:
			t, err := time.Parse(time.RFC3339Nano, string(v.Str()))
			return value.DateTime(t.UnixMilli()), err == nil
		}
		return v, false
	},
	"objectId": func(v value.Value) (value.Value, bool) {
		if v.Type == bson.TypeObjectID {
			return v, true
		}
		b, err := hex.DecodeString(string(v.Str()))
		return value.Value{Type: bson.TypeObjectID, Data: b}, err == nil && len(b) == 12
	},
}

func boolean(b bool) value.Value {
	v := value.Value{Type: bson.TypeBoolean, Data: []byte{0}}
	if b {
		v.Data[0] = 1
	}
	return v
}

// The conversions below change the type and nothing else: text of a number is the
// shortest that reads back as it, a double becomes an integer only if it is one.
func toString(v value.Value) (value.Value, bool) {
	switch v.Type {
	case bson.TypeString:
		return v, true
	case bson.TypeInt32, bson.TypeInt64:
		return value.String(strconv.FormatInt(v.Int(), 10)), true
	case bson.TypeDouble:
		return value.String(strconv.FormatFloat(v.Float(), 'g', -1, 64)), true
	case bson.TypeBoolean:
		return value.String(strconv.FormatBool(v.Bool())), true
	case bson.TypeObjectID:
		return value.String(hex.EncodeToString(v.Data)), true
	case bson.TypeDateTime:
		return value.String(v.Raw().Time().UTC().Format("2006-01-02T15:04:05.000Z")), true
	case bson.TypeDecimal128:
		return value.String(v.Decimal().String()), true
	}
	return v, false
}

func toInt(v value.Value) (int64, bool) {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64:
		return v.Int(), true
	case bson.TypeDouble:
		f := v.Float()
		return int64(f), f == math.Trunc(f) && math.Abs(f) < 1<<53
	case bson.TypeString:
		n, err := strconv.ParseInt(string(v.Str()), 10, 64)
		return n, err == nil
	case bson.TypeBoolean:
		if v.Bool() {
			return 1, true
		}
		return 0, true
	case bson.TypeDateTime:
		return v.Raw().Time().UnixMilli(), true
	}
	return 0, false
}

func toDouble(v value.Value) (value.Value, bool) {
	var f float64
	switch v.Type {
	case bson.TypeDouble:
		return v, true
	case bson.TypeInt32, bson.TypeInt64:
		// 2^63 - 1 is rounded to 2^63: what that is as an int64 differs between processors.
		if f = float64(v.Int()); f >= 1<<63 || int64(f) != v.Int() {
			return v, false
		}
	case bson.TypeString:
		var err error
		if f, err = strconv.ParseFloat(string(v.Str()), 64); err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return v, false
		}
	default:
		return v, false
	}
	_, b, err := bson.MarshalValue(f)
	return value.Value{Type: bson.TypeDouble, Data: b}, err == nil
}
