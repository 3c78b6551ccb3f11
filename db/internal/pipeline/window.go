package pipeline

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"sort"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A windowStage adds to each document what accumulators make of the documents around it: of
// its partition, in the order of a sort. Partitions come in the order of their keys, and the
// documents in each in that of the sort, equal ones as they came.
type windowStage struct {
	by     *expr.Expr  // partitions; nil for one
	sort   *query.Sort // nil for none
	field  value.Path  // that the sort has alone and ascending: ranges are of its values
	fields []windowField
}

// A windowField is one field of output.
type windowField struct {
	path  value.Path
	op    string
	out   output      // of an accumulator
	arg   *expr.Expr  // of $shift and $locf
	by    int64       // of $shift
	or    value.Value // of $shift, where there is no document; null for none
	win   window
	plain bool // the window is the whole partition
}

// A window says which documents of a partition one sees, counted from itself, or by how far
// their value of the sort is from its own.
type window struct {
	ranges   bool
	unit     string // of ranges of times; "" for numbers
	low, end bound
}

// A bound is one end of a window, which is in it.
type bound struct {
	open bool // unbounded
	at   int64
	far  value.Value // of ranges of numbers; none for the value itself
}

// setWindowFields compiles {partitionBy, sortBy, output: {path: {$op: argument, window: {documents
// or range: [from, to], unit}}}}.
func (c *compiler) setWindowFields(op string, arg value.Value) (stage, error) {
	if !arg.IsDoc() {
		return nil, fault.Errorf(fault.FailedToParse, "the %s stage specification must be an object, found %s", op, expr.TypeName(arg))
	}
	s := &windowStage{}
	var outputs value.Value
	var err error
	it := value.Elements(arg.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		switch key := string(k); key {
		case "partitionBy":
			s.by, err = c.expr(op, v)
		case "sortBy":
			if !v.IsDoc() || len(v.Data) <= 5 {
				return nil, fault.Errorf(fault.TypeMismatch, "%s: 'sortBy' must be a non-empty object", op)
			}
			s.sort, err = query.CompileSort(bson.Raw(v.Data))
			if err == nil {
				s.field, err = oneAscending(v)
			}
		case "output":
			outputs = v
		default:
			err = fault.Errorf(fault.FailedToParse, "BSON field '%s.%s' is an unknown field.", op, key)
		}
		if err != nil {
			return nil, in(op, err)
		}
	}
	if !outputs.IsDoc() {
		return nil, fault.Errorf(fault.FailedToParse, "%s requires 'output', an object of fields", op)
	}
	it = value.Elements(outputs.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		f, err := c.windowField(s, string(k), v)
		if err != nil {
			return nil, in(op, err)
		}
		s.fields = append(s.fields, f)
	}
	return s, nil
}

// oneAscending returns the field of a sort that has one, ascending; nil of others.
func oneAscending(v value.Value) (value.Path, error) {
	it := value.Elements(v.Data)
	k, order, _ := it.Next()
	if _, _, more := it.Next(); more || !order.IsNumber() || value.Compare(order, value.Int32(0)) < 0 {
		return nil, nil
	}
	return expr.ParseFieldPath(string(k))
}

func (c *compiler) windowField(s *windowStage, name string, v value.Value) (f windowField, err error) {
	if f.path, err = expr.ParseFieldPath(name); err != nil {
		return f, err
	}
	if !v.IsDoc() {
		return f, fault.Errorf(fault.FailedToParse, "The field '%s' must be a window function object", name)
	}
	var arg, win value.Value
	it := value.Elements(v.Data)
	for k, e, ok := it.Next(); ok; k, e, ok = it.Next() {
		switch {
		case string(k) == "window":
			win = e
		case f.op != "":
			return f, fault.Errorf(fault.FailedToParse, "The field '%s' must specify one window function, found %s and %s", name, f.op, k)
		default:
			f.op, arg = string(k), e
		}
	}
	switch f.op {
	case "":
		return f, fault.Errorf(fault.FailedToParse, "The field '%s' must specify a window function", name)
	case "$rank", "$denseRank", "$documentNumber", "$shift", "$locf":
		if win.Exists() {
			return f, fault.Errorf(fault.FailedToParse, "%s does not accept a 'window' field", f.op)
		}
		return f, c.ordered(s, &f, arg)
	case "$derivative", "$integral", "$covariancePop", "$covarianceSamp", "$expMovingAvg", "$linearFill":
		return f, fault.Errorf(fault.CommandNotSupported, "the window function %s is not supported", f.op)
	}
	if f.out, err = c.accumulator(name, f.op, arg); err != nil {
		return f, err
	}
	f.win, f.plain, err = s.window(win)
	return f, err
}

// ordered compiles what depends on the order of the documents and has no window.
func (c *compiler) ordered(s *windowStage, f *windowField, arg value.Value) (err error) {
	if s.sort == nil {
		return fault.Errorf(fault.FailedToParse, "%s must be specified with a top level sortBy expression", f.op)
	}
	f.or = value.Null()
	switch f.op {
	case "$shift":
		return c.shift(f, arg)
	case "$locf":
		f.arg, err = c.expr(f.op, arg)
		return err
	case "$rank", "$denseRank":
		if len(s.sort.Fields()) != 1 {
			return fault.Errorf(fault.FailedToParse, "%s must be specified with a top level sortBy expression with exactly one element", f.op)
		}
	}
	if !arg.IsDoc() || len(arg.Data) > 5 {
		return fault.Errorf(fault.FailedToParse, "%s must be specified with '{}' as the value", f.op)
	}
	return nil
}

func (c *compiler) shift(f *windowField, arg value.Value) (err error) {
	if !arg.IsDoc() {
		return fault.Errorf(fault.FailedToParse, "Argument to $shift must be an object")
	}
	by := false
	it := value.Elements(arg.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		switch string(k) {
		case "output":
			f.arg, err = c.expr(f.op, v)
		case "by":
			if f.by, by = whole(v); !by || f.by != int64(int32(f.by)) {
				return fault.Errorf(fault.FailedToParse, "'$shift:by' field must be an integer, but found %s", value.AppendJSONValue(nil, v, false))
			}
		case "default":
			var x *expr.Expr
			if x, err = expr.Compile(v); err == nil { // no variables: it is a constant
				f.or, err = x.Eval(&expr.Env{Root: emptyDoc})
			}
			f.or.Data = bytes.Clone(f.or.Data)
		default:
			err = fault.Errorf(fault.FailedToParse, "Unknown argument in $shift: %s", k)
		}
		if err != nil {
			return err
		}
	}
	if f.arg == nil || !by {
		return fault.Errorf(fault.FailedToParse, "$shift requires an 'output' expression and a 'by' integer")
	}
	return nil
}

// window compiles {documents: [from, to]} or {range: [from, to], unit}; a missing one is the
// whole partition.
func (s *windowStage) window(v value.Value) (w window, all bool, err error) {
	if !v.Exists() {
		return w, true, nil
	}
	if !v.IsDoc() {
		return w, false, fault.Errorf(fault.FailedToParse, "'window' field must be an object")
	}
	var bounds value.Value
	it := value.Elements(v.Data)
	for k, e, ok := it.Next(); ok; k, e, ok = it.Next() {
		switch key := string(k); key {
		case "documents", "range":
			if bounds.Exists() {
				return w, false, fault.Errorf(fault.FailedToParse, "Window bounds can specify either 'documents' or 'range', not both.")
			}
			bounds, w.ranges = e, key == "range"
		case "unit":
			if w.unit = string(e.Str()); e.Type != bson.TypeString || !slices.Contains(units, w.unit) {
				return w, false, fault.Errorf(fault.FailedToParse, "unknown time unit value: %s", value.AppendJSONValue(nil, e, false))
			}
		default:
			return w, false, fault.Errorf(fault.FailedToParse, "'window' field that is not 'documents', 'range' or 'unit': %s", key)
		}
	}
	switch {
	case !bounds.Exists() && w.unit == "":
		return w, true, nil
	case w.unit != "" && !w.ranges:
		return w, false, fault.Errorf(fault.FailedToParse, "Window bounds can only specify 'unit' with range-based bounds.")
	}
	ends, err := ends(bounds, w)
	if err != nil {
		return w, false, err
	}
	w.low, w.end = ends[0], ends[1]
	switch {
	case w.low.open && w.end.open:
		return w, true, nil
	case w.ranges && s.field == nil:
		return w, false, fault.Errorf(fault.FailedToParse, "Range-based window require sortBy a single field, ascending")
	case s.sort == nil:
		return w, false, fault.Errorf(fault.FailedToParse, "Document-based bounds require a sortBy")
	case !w.low.open && !w.end.open && w.low.beyond(w.end):
		return w, false, fault.Errorf(fault.FailedToParse, "Lower bound must not exceed upper bound: %v", v.Raw())
	}
	return w, false, nil
}

// beyond reports whether a bound is after another; one without a number is at 0.
func (b bound) beyond(o bound) bool {
	x, y := b.far, o.far
	if !x.Exists() {
		x = value.Int32(0)
	}
	if !y.Exists() {
		y = value.Int32(0)
	}
	return value.Compare(x, y) > 0
}

var units = []string{"year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond"}

func ends(v value.Value, w window) (out [2]bound, err error) {
	n := 0
	if v.IsArray() {
		it := value.Elements(v.Data)
		for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
			if n == 2 {
				n++
				break
			}
			switch word := string(e.Str()); {
			case e.Type == bson.TypeString && word == "unbounded":
				out[n].open = true
			case e.Type == bson.TypeString && word == "current":
			case e.IsNumber():
				k, isWhole := whole(e)
				if (!w.ranges || w.unit != "") && !isWhole {
					return out, fault.Errorf(fault.FailedToParse, "Numeric document-based bounds, and those of times, must be an integer: %s", value.AppendJSONValue(nil, e, false))
				}
				out[n].at, out[n].far = k, e
			default:
				return out, fault.Errorf(fault.FailedToParse, "Window bounds must be 'unbounded', 'current', or a number.")
			}
			n++
		}
	}
	if n != 2 {
		return out, fault.Errorf(fault.FailedToParse, "Window bounds must be a 2-element array: %s", value.AppendJSONValue(nil, v, false))
	}
	return out, nil
}

// A windowed document has the key of its partition and that of the sort.
type windowed struct {
	part, key, doc []byte
	position       int
}

// All documents are held, as the first may see the last.
func (s *windowStage) open(r *run, in Cursor) (Cursor, error) {
	w := &windowing{s: s, r: r, env: r.env()}
	return &late{Cursor: in, f: func() ([][]byte, error) {
		docs, err := w.read(in)
		if err != nil {
			return nil, err
		}
		out := make([][]byte, 0, len(docs))
		for from := 0; from < len(docs); {
			to := from + 1
			for to < len(docs) && bytes.Equal(docs[to].part, docs[from].part) {
				to++
			}
			if out, err = w.partition(out, docs[from:to]); err != nil {
				return nil, err
			}
			from = to
		}
		return out, nil
	}}, nil
}

// A windowing is one run of the stage.
type windowing struct {
	s     *windowStage
	r     *run
	env   *expr.Env
	ticks int
}

// tick lets a run end that has much to do for each document.
func (w *windowing) tick() error {
	if w.ticks++; w.ticks&1023 == 0 {
		return w.r.stop()
	}
	return nil
}

func (w *windowing) read(in Cursor) (docs []windowed, err error) {
	for {
		doc, err := in.Next()
		if err != nil {
			return nil, err
		}
		if doc == nil {
			break
		}
		d := windowed{doc: bytes.Clone(doc), position: len(docs)}
		if w.s.by != nil {
			w.env.Root = d.doc
			v, err := w.s.by.Eval(w.env)
			if err != nil {
				return nil, err
			}
			if v.IsArray() {
				return nil, fault.Errorf(fault.TypeMismatch, "An expression used to partition cannot evaluate to value of type array")
			}
			d.part = value.AppendKey(nil, plain(v), false)
		}
		if w.s.sort != nil {
			d.key = w.s.sort.Key(nil, d.doc)
		}
		if err := w.r.hold("$setWindowFields", len(d.doc)+len(d.part)+len(d.key)+groupSize); err != nil {
			return nil, err
		}
		docs = append(docs, d)
	}
	slices.SortFunc(docs, func(a, b windowed) int {
		return cmp.Or(bytes.Compare(a.part, b.part), bytes.Compare(a.key, b.key), cmp.Compare(a.position, b.position))
	})
	return docs, nil
}

// partition appends the documents of one with their fields. A field may not see what
// another makes: all are of the documents as they came.
func (w *windowing) partition(out [][]byte, docs []windowed) ([][]byte, error) {
	results := make([][]byte, len(docs))
	for i := range docs {
		results[i] = docs[i].doc
	}
	for i := range w.s.fields {
		f := &w.s.fields[i]
		set := func(at int, v value.Value) error {
			doc := setPath(nil, results[at], f.path, v)
			if len(doc) > maxDocument {
				return fault.Errorf(fault.TooLarge, "$setWindowFields: a document has more than %d bytes", maxDocument)
			}
			err := w.r.hold("$setWindowFields", len(doc)-len(results[at]))
			results[at] = doc
			return err
		}
		var err error
		switch f.op {
		case "$rank", "$denseRank", "$documentNumber":
			err = ranks(f.op, docs, set)
		case "$shift", "$locf":
			err = w.shifted(f, docs, set)
		default:
			err = w.accumulated(f, docs, set)
		}
		if err != nil {
			return nil, err
		}
	}
	return append(out, results...), nil
}

// ranks numbers the documents; those that the sort has alike have one rank.
func ranks(op string, docs []windowed, set func(int, value.Value) error) error {
	rank := 0
	for i := range docs {
		switch same := i > 0 && bytes.Equal(docs[i].key, docs[i-1].key); {
		case op == "$documentNumber", op == "$rank" && !same:
			rank = i + 1
		case op == "$denseRank" && !same:
			rank++
		}
		if err := set(i, value.Int64(int64(rank))); err != nil {
			return err
		}
	}
	return nil
}

// shifted gives values of other documents: that so many places on, or the last that is not
// null up to here.
func (w *windowing) shifted(f *windowField, docs []windowed, set func(int, value.Value) error) error {
	last := value.Null()
	for i := range docs {
		if err := w.tick(); err != nil {
			return err
		}
		at := int64(i) + f.by
		v := f.or
		if at >= 0 && at < int64(len(docs)) {
			w.env.Root = docs[at].doc
			var err error
			if v, err = f.arg.Eval(w.env); err != nil {
				return err
			}
			if v = plainMissing(v); f.op == "$locf" {
				if v.Type != bson.TypeNull {
					last = value.Value{Type: v.Type, Data: bytes.Clone(v.Data)}
				}
				v = last
			}
		}
		if err := set(i, v); err != nil {
			return err
		}
	}
	return nil
}

// plainMissing is v, or null for none.
func plainMissing(v value.Value) value.Value {
	if !v.Exists() {
		return value.Null()
	}
	return v
}

// accumulated gives what an accumulator makes of each document's window. It goes on with
// the one of the document before if the window only grows at its end.
func (w *windowing) accumulated(f *windowField, docs []windowed, set func(int, value.Value) error) error {
	span, err := w.spans(f, docs)
	if err != nil {
		return err
	}
	g := &groups{s: &groupStage{op: "$setWindowFields", outputs: []output{f.out}}, r: w.r, env: w.env}
	var one *group
	from, to := 0, 0 // what one has
	var result value.Value
	for i := range docs {
		low, end := span(i)
		if one == nil || low != from || end < to || end > to && !f.grows() {
			w.drop(f, one)
			one, from, to = &group{id: value.Null()}, low, low
			if err := g.accumulators(one); err != nil {
				return err
			}
			result = value.Value{}
		}
		for ; to < end; to++ {
			if err := w.tick(); err != nil {
				return err
			}
			if err := g.accumulate(one, docs[to].doc); err != nil {
				return err
			}
			result = value.Value{}
		}
		if !result.Exists() {
			if result, err = one.accs[0].Result(w.env); err != nil {
				return err
			}
			result = value.Value{Type: result.Type, Data: bytes.Clone(result.Data)}
		}
		if err := set(i, result); err != nil {
			return err
		}
	}
	w.drop(f, one)
	return nil
}

// drop takes back what the accumulator of a window was counted for.
func (w *windowing) drop(f *windowField, one *group) {
	if one != nil && f.out.held {
		w.r.drop(one.accs[0].Size())
	}
}

// grows reports whether an accumulator can go on after it has given its result.
func (f *windowField) grows() bool {
	switch f.op {
	case "$push", "$addToSet":
		return false
	}
	return true
}

// spans returns what gives the window of the i-th document, as places from and before.
func (w *windowing) spans(f *windowField, docs []windowed) (func(i int) (low, end int), error) {
	n := len(docs)
	switch {
	case f.plain:
		return func(int) (int, int) { return 0, n }, nil
	case !f.win.ranges:
		return func(i int) (low, end int) {
			place := func(b bound, open, more int) int {
				if b.open {
					return open
				}
				return int(max(0, min(int64(n), int64(i+more)+max(-int64(n)-1, min(int64(n)+1, b.at)))))
			}
			low, end = place(f.win.low, 0, 0), place(f.win.end, n, 1)
			return low, max(low, end)
		}, nil
	}
	at := make([]value.Value, n)
	for i := range docs {
		v := along(nil, value.Doc(docs[i].doc), w.s.field)
		switch {
		case len(v) != 1, f.win.unit == "" && !v[0].IsNumber(), f.win.unit != "" && v[0].Type != bson.TypeDateTime:
			want := "a number"
			if f.win.unit != "" {
				want = "a Date"
			}
			return nil, fault.Errorf(fault.TypeMismatch, "Invalid range: Expected the sortBy field to be %s, but it was %s", want, named(v))
		}
		at[i] = v[0]
	}
	return func(i int) (low, end int) {
		low, end = 0, n
		if !f.win.low.open {
			b := f.win.limit(at[i], f.win.low, math.MinInt64)
			low = sort.Search(n, func(k int) bool { return value.Compare(at[k], b) >= 0 })
		}
		if !f.win.end.open {
			b := f.win.limit(at[i], f.win.end, math.MaxInt64)
			end = sort.Search(n, func(k int) bool { return value.Compare(at[k], b) > 0 })
		}
		return low, max(low, end)
	}, nil
}

func named(v []value.Value) string {
	if len(v) == 0 {
		return "missing"
	}
	return expr.TypeName(v[0])
}

// limit returns the value that is so far from v; a time that is no date is beyond all.
func (w window) limit(v value.Value, b bound, beyond int64) value.Value {
	if w.unit != "" {
		if ms, ok := expr.Shift(time.UnixMilli(v.Int()).UTC(), w.unit, b.at); ok {
			return value.DateTime(ms)
		}
		return value.DateTime(beyond)
	}
	if !b.far.Exists() {
		return v
	}
	return expr.Plus(v, b.far)
}
