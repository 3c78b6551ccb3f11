package canonical

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/vectors"
)

var (
	errMalformed = fault.New(fault.Malformed, "malformed")
	errTooLarge  = fault.New(fault.TooLarge, "too large")
	errVersion   = fault.New(fault.UnknownVersion, "unknown version")
)

func small() *Codec {
	return New(Options{Version: 1, Elements: 16, Nesting: 4, Malformed: errMalformed, TooLarge: errTooLarge, UnknownVersion: errVersion})
}

// A sample has a field of each shape that formats are made of.
type sample struct {
	_       struct{} `cbor:",toarray"`
	Version uint8
	Number  uint64
	Flag    bool
	Text    string
	Bytes   []byte
	Hash    [4]byte
	List    [][]byte
	Inner   struct {
		_ struct{} `cbor:",toarray"`
		N uint64
	}
}

func full() *sample {
	s := &sample{Version: 1, Number: 1 << 40, Flag: true, Text: "é", Bytes: []byte{9}, Hash: [4]byte{1, 2, 3, 4}, List: [][]byte{{7}, {}}}
	s.Inner.N = 24
	return s
}

// The bytes are those of the formats: they cannot change.
func TestVectors(t *testing.T) {
	c := small()
	back := func(b []byte) (any, error) {
		var v sample
		return &v, c.Decode(b, "sample", &v)
	}
	all := []vectors.Vector{
		{Name: "a field of each type", Values: full(), Bytes: c.Encode(full()), Back: back},
		{Name: "empty", Values: &sample{}, Bytes: c.Encode(&sample{}), Back: back},
	}
	for _, n := range []uint64{23, 24, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32, 1<<64 - 1} {
		v := &sample{Number: n, Bytes: make([]byte, n%300)}
		all = append(all, vectors.Vector{Name: fmt.Sprintf("the number %d", n), Values: v, Bytes: c.Encode(v), Back: back})
	}
	for _, v := range all {
		var buf bytes.Buffer
		buf.WriteString("before")
		if c.EncodeTo(&buf, v.Values); buf.String() != "before"+string(v.Bytes) {
			t.Errorf("EncodeTo gave other bytes: %x", buf.Bytes())
		}
	}
	vectors.Check(t, "cbor", "docs/design.md, Encodings", all...)
}

// One value has one encoding; every other is refused.
func TestDecodeIsStrict(t *testing.T) {
	c := small()
	deep, long := []any{}, make([]uint8, 17)
	for range 4 {
		deep = []any{deep}
	}
	var any1 any
	var wide struct {
		_ struct{} `cbor:",toarray"`
		V []uint64
	}
	for name, x := range map[string]struct {
		in   []byte
		into any
	}{
		"nothing":           {nil, new(sample)},
		"an integer longer": {unhex(t, "811801"), &wide},
		"longer in a list":  {unhex(t, "81811801"), &wide},
		"indefinite array":  {unhex(t, "9f80ff"), &wide},
		"indefinite bytes":  {unhex(t, "5f4101ff"), &any1},
		"a tag":             {unhex(t, "c100"), &any1},
		"NaN":               {unhex(t, "f97e00"), &any1},
		"infinity":          {unhex(t, "f97c00"), &any1},
		"a short float":     {unhex(t, "f93c00"), &any1},
		"a key twice":       {unhex(t, "a201010102"), &any1},
		"text not UTF-8":    {unhex(t, "61ff"), &any1},
		"null for bytes":    {unhex(t, "88010000f6404400000000808100"), new(sample)},
		"a byte after":      {append(c.Encode(full()), 0), new(sample)},
		"cut short":         {c.Encode(full())[:10], new(sample)},
		"an element more":   {unhex(t, "828001"), &wide},
		"too many elements": {c.Encode([]any{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}), &any1},
		"too deep":          {c.Encode(deep), &any1},
		"negative":          {unhex(t, "818120"), &wide},
		"above its type":    {unhex(t, "8819010000f460404400000000808100"), new(sample)},
		"list as bytes":     {c.Encode(long), new(sample)},
	} {
		if err := c.Decode(x.in, "sample", x.into); !errors.Is(err, errMalformed) || !fault.Is(err, fault.Malformed) {
			t.Errorf("%s: got %v, want malformed", name, err)
		}
	}
}

func TestVersionBeforeShape(t *testing.T) {
	c := small()
	for name, x := range map[string]struct {
		in   string
		want error
	}{
		"a version to come":  {"8202f6", errVersion},
		"version 0":          {"8100", errVersion},
		"version 23":         {"8117", errVersion},
		"no array":           {"01", errMalformed},
		"an empty array":     {"80", errMalformed},
		"a long version":     {"811818", errMalformed},
		"text":               {"816131", errMalformed},
		"this version":       {"8101", errMalformed}, // in another shape
		"nothing":            {"", errMalformed},
		"above the limit":    {hex.EncodeToString(make([]byte, 101)), errTooLarge},
		"sixteen elements":   {"9001", errMalformed},
		"a sample":           {hex.EncodeToString(c.Encode(full())), nil},
		"an indefinite list": {"9f01ff", errMalformed},
	} {
		err := c.DecodeVersioned(unhex(t, x.in), 100, "sample", new(sample))
		if !errors.Is(err, x.want) || (x.want == nil) != (err == nil) {
			t.Errorf("%s: got %v, want %v", name, err, x.want)
		}
		if err != nil && fault.KindOf(err) != fault.KindOf(x.want) {
			t.Errorf("%s: got kind %s", name, fault.KindOf(err))
		}
	}
}

// Only a type without a form panics; a float is one, as NaN could come in by it.
func TestEncodePanicsForWhatHasNoForm(t *testing.T) {
	for name, v := range map[string]any{"a channel": make(chan int), "NaN": math.NaN(), "infinity": math.Inf(1)} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was encoded", name)
				}
			}()
			small().Encode(v)
		}()
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What decodes encodes to the same bytes; all else is an error of its kind.
func FuzzDecode(f *testing.F) {
	c := small()
	f.Add(c.Encode(full()))
	f.Add(c.Encode(&sample{}))
	f.Add(c.Encode(&sample{Version: 2}))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, v := range []any{new(sample), new(any)} {
			err := c.Decode(in, "sample", v)
			if err == nil && !bytes.Equal(c.Encode(v), in) {
				t.Fatalf("%x decoded, but encodes to %x", in, c.Encode(v))
			}
			if err != nil && !errors.Is(err, errMalformed) {
				t.Fatal(err)
			}
		}
		var s sample
		err := c.DecodeVersioned(in, 256, "sample", &s)
		if err == nil && (s.Version != 1 || !bytes.Equal(c.Encode(&s), in)) {
			t.Fatalf("%x decoded to version %d", in, s.Version)
		}
		if err != nil && !errors.Is(err, errMalformed) && !errors.Is(err, errTooLarge) && !errors.Is(err, errVersion) {
			t.Fatal(err)
		}
	})
}
