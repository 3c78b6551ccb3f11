package expr

import (
	"math"
	"strconv"
	"time"

	"github.com/cockroachdb/apd/v3"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/number"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// An evaluation is bounded in ticks and in bytes that it builds, and not in time:
// an update is refused on every replica or on none.
const (
	// MaxValue bounds one value that an expression builds, in bytes.
	MaxValue = 16 << 20
	// maxBuilt bounds all that one evaluation builds, in bytes.
	maxBuilt = 64 << 20
	// maxTicks bounds the operations of one evaluation.
	maxTicks = 2 << 20
	// maxNesting is the deepest value that $reduce may build.
	maxNesting = 2 * value.MaxDepth
)

// An Env is what an expression is evaluated on. It belongs to one goroutine and is used again for the
// next document by setting Root. Memory for arguments, variables and small results is used again from
// one document to the next, as are the time zones and patterns that were met; what is built and counted
// starts anew with each evaluation.
type Env struct {
	Root []byte // $$ROOT, the encoded document
	// Current is $$CURRENT, where paths such as $a begin: a document within Root, nil if it
	// is Root itself.
	Current []byte
	Now     int64         // $$NOW, milliseconds since 1970
	Vars    []value.Value // of the names given to Compile
	// Stop is asked now and then in a long evaluation; its error ends it. nil
	// means never.
	Stop func() error
	// Meter bounds the evaluation further, and counts what it takes; nil for not.
	Meter *value.Meter

	slots []value.Value // Vars, then the variables bound inside
	stack []value.Value // arguments of operators
	chunk []byte        // memory for small results
	ticks int
	less  int // ticks that a meter leaves of maxTicks
	check int // the ticks at which Stop is asked next
	built int

	zones   map[string]*time.Location
	regexes map[string]*regex
}

func (e *Env) current() []byte {
	if e.Current != nil {
		return e.Current
	}
	return e.Root
}

// run evaluates from fresh bounds. Memory of the evaluation before is used again, except for chunk,
// which results alias. The bound is looked at every 1,024 ticks, and where it lies, so that a tick is
// an addition and a comparison and an evaluation ends after the same tick everywhere.
func (e *Env) run(x *Expr) (value.Value, error) {
	e.ticks, e.built, e.less = 0, 0, maxTicks-e.Meter.Ticks(maxTicks)
	e.check = min(1024, maxTicks-e.less)
	if e.Meter != nil {
		defer e.metered()
	}
	if x.nslots > 0 {
		e.slots = append(e.slots[:0], e.Vars...)
		for len(e.slots) < x.nslots {
			e.slots = append(e.slots, value.Value{})
		}
	}
	e.stack = e.stack[:0]
	return x.root.eval(e)
}

// metered counts what the evaluation took. An evaluation that had fewer ticks than others, because of
// the meter, and used them up has used up the meter.
func (e *Env) metered() {
	if e.less > 0 && e.ticks > maxTicks-e.less {
		e.Meter.Exhaust()
		return
	}
	e.Meter.Spend(e.ticks*value.MeterTick + e.built)
}

// tick counts one operation.
func (e *Env) tick() error { return e.spend(1) }

// spend counts work: about 256 bytes read, or a tenth of a microsecond, each.
func (e *Env) spend(n int) error {
	e.ticks += n
	if e.ticks < e.check {
		return nil
	}
	most := maxTicks - e.less
	e.check = min(e.ticks+1024, max(most, e.ticks+1))
	if e.ticks > most {
		return fault.Errorf(fault.ExceededMemoryLimit, "the expression takes more than %d units of work", maxTicks)
	}
	if e.Stop != nil {
		return e.Stop()
	}
	return nil
}

// What operations on decimals cost, in ticks.
const (
	costDecimal  = 10
	costFunction = 300
)

// charge is spend for an operator that does a bounded amount of work and cannot
// fail: the next spend tells.
func (e *Env) charge(n int) { e.ticks += n }

// room counts n bytes that op is about to build as one value. Bytes are counted before they are taken
// and are never given back: a value within three arrays counts for each of the three, for it is copied
// into each.
func (e *Env) room(op string, n int) error {
	if n > MaxValue {
		return fault.Errorf(fault.TooLarge, "%s would build a value of more than %d MiB", op, MaxValue>>20)
	}
	if e.built += n; e.built > maxBuilt || e.Meter != nil && e.built > e.Meter.Left {
		return fault.Errorf(fault.ExceededMemoryLimit, "%s would use too much memory: the expression builds more than %d MiB", op, maxBuilt>>20)
	}
	return nil
}

// alloc returns n bytes that nobody else has. Small ones are taken from chunks of 2 KiB, each of which
// lives as long as any value in it. To append to one copies it, since its capacity is its length.
func (e *Env) alloc(n int) []byte {
	if n > 256 {
		return make([]byte, n)
	}
	if len(e.chunk) < n {
		e.chunk = make([]byte, 2048)
	}
	b := e.chunk[:n:n]
	e.chunk = e.chunk[n:]
	return b
}

func (e *Env) int32(n int32) value.Value {
	b := e.alloc(4)
	b[0], b[1], b[2], b[3] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
	return value.Value{Type: bson.TypeInt32, Data: b}
}

func (e *Env) bits(t bson.Type, u uint64) value.Value {
	b := e.alloc(8)
	for i := range b {
		b[i] = byte(u >> (8 * i))
	}
	return value.Value{Type: t, Data: b}
}

func (e *Env) int64(n int64) value.Value { return e.bits(bson.TypeInt64, uint64(n)) }

func (e *Env) date(ms int64) value.Value { return e.bits(bson.TypeDateTime, uint64(ms)) }

func (e *Env) double(f float64) value.Value {
	u := math.Float64bits(f)
	if f != f {
		u = 0x7ff8000000000000 // the one canonical NaN
	}
	return e.bits(bson.TypeDouble, u)
}

// decimal builds a decimal value, rounded to 34 digits.
func (e *Env) decimal(d *apd.Decimal) value.Value {
	b := e.alloc(16)
	value.AppendDecimal(b[:0], number.ToBSON(d))
	return value.Value{Type: bson.TypeDecimal128, Data: b}
}

// number builds the value of what was computed.
func (e *Env) number(n number.Number) value.Value {
	switch n.Type {
	case bson.TypeDecimal128:
		return e.decimal(n.Decimal)
	case bson.TypeDouble:
		return e.double(n.Float)
	}
	return e.narrow(n.Type, n.Int)
}

// count is the value of a size or position.
func (e *Env) count(n int) value.Value { return e.int32(int32(n)) }

var (
	trueValue  = value.Value{Type: bson.TypeBoolean, Data: []byte{1}}
	falseValue = value.Value{Type: bson.TypeBoolean, Data: []byte{0}}
	nullValue  = value.Null()
)

func boolean(b bool) value.Value {
	if b {
		return trueValue
	}
	return falseValue
}

// text builds a string value.
func (e *Env) text(op string, s []byte) (value.Value, error) {
	if err := e.room(op, len(s)+5); err != nil {
		return value.Value{}, err
	}
	b := e.alloc(len(s) + 5)
	n := len(s) + 1
	b[0], b[1], b[2], b[3] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
	copy(b[4:], s)
	b[len(b)-1] = 0
	return value.Value{Type: bson.TypeString, Data: b}, nil
}

// A builder builds an array or a document within the bounds of an Env. The first error is kept for
// value, and what is added after it is not: add and set say whether to go on.
type builder struct {
	e   *Env
	op  string
	b   []byte
	n   int
	err error
	doc bool
}

func (e *Env) array(op string) *builder {
	d := builder{e: e, op: op}
	d.b, _ = value.Begin(nil)
	return &d
}

func (e *Env) document(op string) *builder {
	d := e.array(op)
	d.doc = true
	return d
}

// room counts what is about to be appended.
func (d *builder) room(n int) bool {
	if d.err == nil {
		d.err = d.e.room(d.op, n)
		if d.err == nil && len(d.b)+n > MaxValue {
			d.err = d.e.room(d.op, len(d.b)+n)
		}
	}
	return d.err == nil
}

// add appends an element of an array; a missing value counts as null.
func (d *builder) add(v value.Value) bool {
	if !d.room(len(v.Data) + 8) {
		return false
	}
	if !v.Exists() {
		v.Type = bson.TypeNull
	}
	var key [12]byte
	d.b = value.AppendElement(d.b, strconv.AppendInt(key[:0], int64(d.n), 10), v)
	d.n++
	return true
}

// set appends a field of a document; a missing value appends nothing.
func (d *builder) set(key []byte, v value.Value) bool {
	if !v.Exists() {
		return true
	}
	if !d.room(len(key) + len(v.Data) + 2) {
		return false
	}
	d.b = value.AppendElement(d.b, key, v)
	return true
}

func (d *builder) value() (value.Value, error) {
	if d.err != nil {
		return value.Value{}, d.err
	}
	t := bson.TypeArray
	if d.doc {
		t = bson.TypeEmbeddedDocument
	}
	return value.Value{Type: t, Data: value.End(d.b, 0)}, nil
}

// elements lists the elements of an array, which costs memory.
func (e *Env) elements(op string, v value.Value) ([]value.Value, error) {
	n := length(v)
	if err := e.room(op, n*32); err != nil {
		return nil, err
	}
	out := make([]value.Value, 0, n)
	it := value.Elements(v.Data)
	for _, x, ok := it.Next(); ok; _, x, ok = it.Next() {
		out = append(out, x)
	}
	return out, nil
}

// length counts the elements of an array.
func length(v value.Value) int {
	n := 0
	it := value.Elements(v.Data)
	for _, _, ok := it.Next(); ok; _, _, ok = it.Next() {
		n++
	}
	return n
}

// arrayOf builds an array of values.
func (e *Env) arrayOf(op string, vals []value.Value) (value.Value, error) {
	out := e.array(op)
	for _, v := range vals {
		if !out.add(v) {
			break
		}
	}
	return out.value()
}
