package query

import (
	"encoding/binary"
	"math"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A Context is what a projection may need besides the document.
type Context struct {
	Filter *Filter       // that found the document, for "a.$"
	Now    time.Time     // for $$NOW
	Score  float64       // of $text, for {$meta: "textScore"}
	Vars   []value.Value // of the Scope that it was compiled for
	Meter  *value.Meter  // what expressions may take; nil for no bound
}

// A projector projects one document.
type projector struct {
	p   *Projection
	ctx Context
	doc []byte
	err error
}

// Apply is Project where no context is needed: a projection without "a.$", an
// expression or a score. The fields of these are left out.
func (p *Projection) Apply(dst, doc []byte) []byte {
	dst, _ = p.Project(dst, doc, Context{})
	return dst
}

// Project appends the projected document to dst. Fields keep the document's
// order, computed ones follow; arrays on the way are projected element by
// element. An error is that of an expression, or of "a.$" where the filter met
// no array.
func (p *Projection) Project(dst, doc []byte, ctx Context) ([]byte, error) {
	if p.all {
		return append(dst, doc...), nil
	}
	r := projector{p: p, ctx: ctx, doc: doc}
	dst = r.document(dst, doc, &p.root)
	return dst, r.err
}

// In an inclusion a field that is computed goes to the end, whether the document has it or
// not; in $addFields it keeps its place. made is a set of 64 bits: fields beyond are looked
// for in the document.
func (r *projector) document(dst, doc []byte, n *projNode) []byte {
	dst, start := value.Begin(dst)
	var made uint64 // of n.adds: those whose field the document has
	it := value.Elements(doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		kid := n.kids[string(k)]
		switch {
		case kid == nil:
			if !r.p.inclusion {
				dst = value.AppendElement(dst, k, v)
			}
			continue
		case kid.makes() && r.p.inclusion:
			continue
		}
		for i, a := range n.adds {
			if a == kid && i < 64 {
				made |= 1 << i
			}
		}
		if kid.makes() {
			dst = r.add(dst, kid)
			continue
		}
		dst = r.field(dst, k, v, kid)
	}
	for i, kid := range n.adds {
		had := made>>i&1 != 0
		if i >= 64 {
			had = value.Get(doc, kid.name).Exists() && !(kid.makes() && r.p.inclusion)
		}
		if !had {
			dst = r.add(dst, kid)
		}
	}
	return value.End(dst, start)
}

// add appends a field that the document does not have.
func (r *projector) add(dst []byte, n *projNode) []byte {
	switch n.op {
	case projScore:
		dst = value.AppendHeader(dst, bson.TypeDouble, n.name)
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(r.ctx.Score))
	case projCompute:
		if r.err != nil {
			return dst
		}
		err := eval(n.expr, r.doc, r.ctx.Now.UnixMilli(), r.ctx.Vars, r.ctx.Meter, func(v value.Value) {
			if len(dst)+len(v.Data) > expr.MaxValue {
				r.err = fault.Errorf(fault.TooLarge, "%s: the document would have more than %d MiB", n.name, expr.MaxValue>>20)
				return
			}
			if v.Exists() {
				dst = value.AppendElement(dst, []byte(n.name), v)
			}
		})
		if err != nil {
			r.err = err
		}
		return dst
	}
	at := len(dst)
	dst = r.document(value.AppendHeader(dst, bson.TypeEmbeddedDocument, n.name), emptyDoc, n)
	if len(dst) == at+len(n.name)+2+len(emptyDoc) { // nothing was made
		return dst[:at]
	}
	return dst
}

var emptyDoc = []byte{5, 0, 0, 0, 0}

// field appends one field that the projection names. A path that goes on meets a document,
// an array, or a value that an inclusion leaves out, an exclusion keeps, and $addFields
// replaces by a document.
func (r *projector) field(dst, key []byte, v value.Value, n *projNode) []byte {
	switch n.op {
	case projKeep:
		return value.AppendElement(dst, key, v)
	case projDrop:
		return dst
	case projSlice:
		if v.IsArray() {
			dst = value.AppendHeader(dst, bson.TypeArray, key)
			return n.appendSlice(dst, v.Data)
		}
		return value.AppendElement(dst, key, v)
	case projMatch:
		if ok, pos := n.match.matchAt(v); ok {
			return appendOne(dst, key, value.At(v.Data, pos))
		}
		return dst
	case projPosition:
		if v.IsArray() {
			return r.position(dst, key, v)
		}
		return value.AppendElement(dst, key, v)
	}
	switch {
	case v.IsDoc():
		return r.document(value.AppendHeader(dst, v.Type, key), v.Data, n)
	case v.IsArray() && n.positional():
		return r.position(dst, key, v)
	case v.IsArray():
		return r.array(value.AppendHeader(dst, v.Type, key), v.Data, n)
	case len(n.adds) > 0:
		return r.document(value.AppendHeader(dst, bson.TypeEmbeddedDocument, key), emptyDoc, n)
	case r.p.inclusion:
		return dst
	}
	return value.AppendElement(dst, key, v)
}

// positional reports whether a field below n is the one with "$".
func (n *projNode) positional() bool {
	if n.op == projPosition {
		return true
	}
	for _, k := range n.kids {
		if k.positional() {
			return true
		}
	}
	return false
}

// position keeps of the first array on a positional path the element that the
// filter matched.
func (r *projector) position(dst, key []byte, v value.Value) []byte {
	pos := -1
	if r.ctx.Filter != nil {
		_, pos = r.ctx.Filter.MatchAt(r.doc, r.ctx.Meter)
	}
	e := value.At(v.Data, pos)
	switch {
	case r.err != nil:
	case pos < 0:
		r.err = fault.Errorf(fault.BadValue, "positional operator '.$' couldn't find a matching element in the array '%s'", key)
	case !e.Exists():
		r.err = fault.Errorf(fault.BadValue, "positional operator '.$' element mismatch: '%s' has no element %d", key, pos)
	default:
		return appendOne(dst, key, e)
	}
	return dst
}

// appendOne appends the field key with an array of one element.
func appendOne(dst, key []byte, e value.Value) []byte {
	dst, start := value.Begin(value.AppendHeader(dst, bson.TypeArray, key))
	return value.End(value.AppendElement(dst, []byte("0"), e), start)
}

// array projects the documents in an array, nested arrays too; other elements
// stay in exclusion only, or become documents of the fields made.
func (r *projector) array(dst, arr []byte, n *projNode) []byte {
	dst, start := value.Begin(dst)
	i := 0
	var buf [20]byte
	it := value.Elements(arr)
	for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
		makes := len(n.adds) > 0
		if r.p.inclusion && !v.IsDoc() && !v.IsArray() && !makes {
			continue
		}
		t := v.Type
		if makes && !v.IsArray() {
			t = bson.TypeEmbeddedDocument
		}
		dst = value.AppendHeader(dst, t, strconv.AppendInt(buf[:0], int64(i), 10))
		i++
		switch {
		case v.IsDoc():
			dst = r.document(dst, v.Data, n)
		case v.IsArray():
			dst = r.array(dst, v.Data, n)
		case makes:
			dst = r.document(dst, emptyDoc, n)
		default:
			dst = append(dst, v.Data...)
		}
	}
	return value.End(dst, start)
}

// appendSlice appends the elements that $slice keeps: from skip on, from the end if it is
// below 0, up to limit.
func (n *projNode) appendSlice(dst, arr []byte) []byte {
	total := 0
	it := value.Elements(arr)
	for _, _, ok := it.Next(); ok; _, _, ok = it.Next() {
		total++
	}
	from := n.skip
	if from < 0 {
		from = max(0, total+from)
	}
	to := total
	if n.limit >= 0 && n.limit < total-min(from, total) {
		to = from + n.limit
	}
	dst, start := value.Begin(dst)
	var buf [20]byte
	it = value.Elements(arr)
	for i := 0; i < to; i++ {
		_, v, ok := it.Next()
		if !ok {
			break
		}
		if i >= from {
			dst = value.AppendElement(dst, strconv.AppendInt(buf[:0], int64(i-from), 10), v)
		}
	}
	return value.End(dst, start)
}

func (f *Filter) matchAt(v value.Value) (bool, int) {
	s := spot{pos: -1}
	ok := f.root.match(v, &s)
	return ok, s.pos
}
