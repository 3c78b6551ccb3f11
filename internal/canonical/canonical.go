// Package canonical is the one encoding of what is signed, hashed, sent and
// stored: strict canonical CBOR (RFC 8949, 4.2), and the frames that carry it on
// a stream.
//
//	var codec = canonical.New(canonical.Options{Version: 1, Elements: 64, Nesting: 8, …})
//	b := codec.Encode(&wire)                                 a struct as an array of fixed length
//	err := codec.DecodeVersioned(b, limit, "grant", &wire)   exactly what Encode gives, or an error
//
//	var frames = canonical.Frames{Max: 4 << 20, …}
//	p, err := frames.Append(nil, kind, body)                 length u32be ‖ type byte ‖ body
//	kind, body, err := frames.Read(r, limit)
//
// A value has one encoding: definite lengths, shortest integers, no tags, no NaN
// and no infinity, no map key twice. Decoding encodes again and compares, so two
// different byte strings never mean the same.
//
// Each package has a codec of its own, with its own bounds and its own sentinels
// for its callers to compare with.
package canonical

import (
	"bytes"
	"fmt"
	"strings"
	"sync"

	"github.com/fxamacker/cbor/v2"

	"github.com/weftdb/weft/internal/fault"
)

// Options says what a codec accepts and which sentinels its errors are.
type Options struct {
	Version  uint8 // the first element of what DecodeVersioned takes, below 24
	Elements int   // of one array, at most; at least 16
	Nesting  int   // of arrays, at most; at least 4

	Malformed      error // for what is not in its canonical form
	TooLarge       error // for what is above its limit
	UnknownVersion error // for another version; nil where DecodeVersioned is not used
}

// A Codec encodes and decodes. It is safe for concurrent use.
type Codec struct {
	opts Options
	enc  cbor.UserBufferEncMode
	dec  cbor.DecMode
	buf  sync.Pool // of *bytes.Buffer
}

// maxPairs bounds the maps of a codec: the least that the library allows, as no
// format has a map.
const maxPairs = 16

// New returns a codec. It panics for options that cannot be, as they are
// constants.
func New(opts Options) *Codec {
	enc, err := cbor.EncOptions{
		Sort: cbor.SortLengthFirst, ShortestFloat: cbor.ShortestFloatNone,
		NaNConvert: cbor.NaNConvertReject, InfConvert: cbor.InfConvertReject,
		IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		NilContainers: cbor.NilContainerAsEmpty,
	}.UserBufferEncMode()
	if err != nil {
		panic(fmt.Sprintf("canonical: %v", err))
	}
	dec, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden,
		TagsMd: cbor.TagsForbidden, UTF8: cbor.UTF8RejectInvalid,
		MaxNestedLevels: opts.Nesting, MaxArrayElements: opts.Elements, MaxMapPairs: maxPairs,
		NaN: cbor.NaNDecodeForbidden, Inf: cbor.InfDecodeForbidden,
		IntDec: cbor.IntDecConvertNone,
	}.DecMode()
	if err != nil {
		panic(fmt.Sprintf("canonical: %v", err))
	}
	return &Codec{opts: opts, enc: enc, dec: dec, buf: sync.Pool{New: func() any { return new(bytes.Buffer) }}}
}

// EncodeTo appends the encoding of v to b. It panics for a type that CBOR has no
// form of, which no input can bring about.
func (c *Codec) EncodeTo(b *bytes.Buffer, v any) {
	if err := c.enc.MarshalToBuffer(v, b); err != nil {
		panic(fmt.Sprintf("canonical: encode %T: %v", v, err))
	}
}

// Encode returns the encoding of v, as [Codec.EncodeTo] gives it.
func (c *Codec) Encode(v any) []byte {
	b := c.buf.Get().(*bytes.Buffer)
	defer c.buf.Put(b)
	b.Reset()
	c.EncodeTo(b, v)
	return bytes.Clone(b.Bytes())
}

// Decode reads b into v, a pointer. It returns Malformed unless b is exactly what
// Encode(v) gives then; what names it in the error. What v holds does not alias b.
func (c *Codec) Decode(b []byte, what string, v any) error {
	if err := c.dec.Unmarshal(b, v); err != nil {
		return fault.Of(c.opts.Malformed, "%s cannot be decoded: %s", what, strings.TrimPrefix(err.Error(), "cbor: "))
	}
	again := c.buf.Get().(*bytes.Buffer)
	defer c.buf.Put(again)
	again.Reset()
	c.EncodeTo(again, v)
	if !bytes.Equal(again.Bytes(), b) {
		return fault.Of(c.opts.Malformed, "%s is not in canonical form", what)
	}
	return nil
}

// DecodeVersioned is Decode for an array of at most limit bytes that begins with
// its version. The version is looked at before the shape, which may be another in
// other versions: they return UnknownVersion.
func (c *Codec) DecodeVersioned(b []byte, limit int, what string, v any) error {
	if err := c.Within(b, limit, what); err != nil {
		return err
	}
	// An array of fewer than 16 elements is 0x80|n; a version below 24 is itself.
	if len(b) < 2 || b[0]&0xf0 != 0x80 || b[1] > 23 {
		return fault.Of(c.opts.Malformed, "%s does not begin with a version", what)
	}
	if b[1] != c.opts.Version {
		return fault.Of(c.opts.UnknownVersion, "%s version %d is unknown to this release", what, b[1])
	}
	return c.Decode(b, what, v)
}

// Within returns TooLarge if b is longer than limit.
func (c *Codec) Within(b []byte, limit int, what string) error {
	if len(b) > limit {
		return fault.Of(c.opts.TooLarge, "%s of %d bytes, at most %d", what, len(b), limit)
	}
	return nil
}
