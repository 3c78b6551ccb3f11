package clock

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

const end = uint64(math.MaxUint64)

func TestVoidHasOneForm(t *testing.T) {
	a, b := Hash{1}, Hash{2}
	for _, c := range []struct {
		name    string
		got     Void
		want    Void
		encoded string
	}{
		{"nothing", NewVoid(nil, nil), Void{}, "00000000"},
		{"up to 0", VoidUpTo(0), Void{}, "00000000"},
		{"up to", VoidUpTo(3), Void{Spans: []Span{{1, 3}}}, "00000001" + "0000000000000001" + "0000000000000003"},
		{"all", VoidAll(), Void{Spans: []Span{{1, end}}}, "00000001" + "0000000000000001" + "ffffffffffffffff"},
		{"above 0", VoidAbove(0), VoidAll(), ""},
		{"above", VoidAbove(3), Void{Spans: []Span{{4, end}}}, ""},
		{"above the last", VoidAbove(end - 1), Void{Spans: []Span{{end, end}}}, ""},
		{"above all", VoidAbove(end), Void{}, ""},
		{"position 0", NewVoid([]Span{{0, 0}, {0, 2}}, []Single{{0, a}}), VoidUpTo(2), ""},
		{"empty spans", NewVoid([]Span{{3, 2}, {end, 1}, {5, 5}}, nil), Void{Spans: []Span{{5, 5}}}, ""},
		{"apart", NewVoid([]Span{{5, 6}, {1, 3}}, nil), Void{Spans: []Span{{1, 3}, {5, 6}}}, ""},
		{"touching", NewVoid([]Span{{4, 6}, {1, 3}}, nil), VoidUpTo(6), ""},
		{"overlapping", NewVoid([]Span{{2, 4}, {1, 9}, {3, 5}}, nil), VoidUpTo(9), ""},
		{"up to and above", VoidUpTo(3).Union(VoidAbove(3)), VoidAll(), ""},
		{"up to and further above", VoidUpTo(3).Union(VoidAbove(4)), Void{Spans: []Span{{1, 3}, {5, end}}}, ""},
		{
			"records", NewVoid([]Span{{1, 3}}, []Single{{5, b}, {4, b}, {5, a}, {3, a}, {5, b}}),
			Void{Spans: []Span{{1, 3}}, Records: []Single{{4, b}, {5, a}, {5, b}}},
			"",
		},
		{"records of a span", NewVoid(nil, []Single{{5, a}}).Union(VoidAbove(4)), VoidAbove(4), ""},
		{
			"a record alone", NewVoid(nil, []Single{{5, a}}),
			Void{Records: []Single{{5, a}}},
			"00000000" + "0000000000000005" + "01" + hex.EncodeToString(make([]byte, 31)),
		},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, c.got, c.want)
		}
		if got := hex.EncodeToString(c.got.Encode()); c.encoded != "" && got != c.encoded {
			t.Errorf("%s: got %s, want %s", c.name, got, c.encoded)
		}
	}
}

func TestVoidHas(t *testing.T) {
	a, b := Hash{1}, Hash{2}
	v := NewVoid([]Span{{2, 3}, {7, 9}, {12, end}}, []Single{{5, a}})
	for seq := range uint64(15) {
		want := slices.Contains([]uint64{2, 3, 7, 8, 9, 12, 13, 14}, seq)
		if v.Has(RecordID{Seq: seq, Hash: b}) != want {
			t.Errorf("position %d: want void %v", seq, want)
		}
		if v.Has(RecordID{Seq: seq, Hash: a}) != (want || seq == 5) {
			t.Errorf("position %d of the single record: want void %v", seq, want || seq == 5)
		}
	}
	if v := VoidAll(); v.Has(RecordID{}) || !v.Has(RecordID{Seq: end}) || v.Empty() || !(Void{}).Empty() {
		t.Error("all of a log is void, from position 1 on")
	}
}

// A model is a Void as a set of records, of as many as tell any two Voids of genVoid apart:
// at the positions that it draws and one between, with the two hashes that it draws and
// another.
type model map[Single]bool

var drawn = []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, end - 2, end - 1, end}

func modelOf(spans []Span, records, kept []Single) model {
	m := model{}
	for _, seq := range append([]uint64{1000}, drawn[1:]...) {
		for _, h := range []Hash{{1}, {2}, {3}} {
			in := slices.ContainsFunc(spans, func(s Span) bool { return s.First <= seq && seq <= s.Last })
			m[Single{seq, h}] = (in || slices.Contains(records, Single{seq, h})) && !slices.Contains(kept, Single{seq, h})
		}
	}
	return m
}

func genVoid(t *rapid.T) (spans []Span, records, kept []Single) {
	at := rapid.SampledFrom(drawn)
	for range rapid.IntRange(0, 4).Draw(t, "spans") {
		spans = append(spans, Span{at.Draw(t, "first"), at.Draw(t, "last")})
	}
	for range rapid.IntRange(0, 4).Draw(t, "records") {
		records = append(records, Single{at.Draw(t, "seq"), Hash{byte(rapid.IntRange(1, 2).Draw(t, "hash"))}})
	}
	for range rapid.IntRange(0, 3).Draw(t, "kept") {
		kept = append(kept, Single{at.Draw(t, "seq"), Hash{byte(rapid.IntRange(1, 2).Draw(t, "hash"))}})
	}
	return spans, records, kept
}

// A Void has the records that it was made of, a union those of both, and two are equal
// if and only if they have the same.
func TestVoidIsASetOfRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		check := func(v Void, want model) {
			t.Helper()
			for r, in := range want {
				if v.Has(RecordID{Log: LogID{9}, Seq: r.Seq, Hash: r.Hash}) != in {
					t.Fatalf("%v: position %d, hash %x…: want void %v", v, r.Seq, r.Hash[:1], in)
				}
			}
			if again, err := DecodeVoid(v.Encode()); err != nil || !reflect.DeepEqual(again, v) {
				t.Fatalf("got %v, %v from the encoding, want %v", again, err, v)
			}
			if again := NewVoid(v.Spans, v.Records).But(v.Kept); !reflect.DeepEqual(again, v) {
				t.Fatalf("got %v from the form %v", again, v)
			}
		}
		s1, r1, k1 := genVoid(t)
		s2, r2, k2 := genVoid(t)
		v1, v2 := NewVoid(s1, r1).But(k1), NewVoid(s2, r2).But(k2)
		m1, m2 := modelOf(s1, r1, k1), modelOf(s2, r2, k2)
		check(v1, m1)
		check(v2, m2)
		both := v1.Union(v2)
		either := model{}
		for r := range m1 {
			either[r] = m1[r] || m2[r]
		}
		check(both, either)
		if !both.Equal(v2.Union(v1)) || !both.Equal(both.Union(v1)) {
			t.Fatal("a union hangs on the order")
		}
		if same := reflect.DeepEqual(m1, m2); v1.Equal(v2) != same {
			t.Fatalf("%v and %v: equal %v, want %v", v1, v2, v1.Equal(v2), same)
		}
	})
}

func TestDecodeVoidIsStrict(t *testing.T) {
	whole := NewVoid([]Span{{1, 3}, {5, 6}}, []Single{{8, Hash{1}}, {8, Hash{2}}}).But([]Single{{2, Hash{3}}}).Encode()
	if _, err := DecodeVoid(whole); err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		if v, err := DecodeVoid(whole[:i]); !errors.Is(err, ErrVoid) && !bytes.Equal(v.Encode(), whole[:i]) {
			t.Errorf("%d of %d bytes: got %v, %v", i, len(whole), v, err)
		}
	}
	for name, v := range map[string]Void{
		"an empty span":        {Spans: []Span{{3, 2}}},
		"position 0":           {Spans: []Span{{0, 2}}},
		"spans out of order":   {Spans: []Span{{5, 6}, {1, 3}}},
		"spans that touch":     {Spans: []Span{{1, 3}, {4, 6}}},
		"a record at 0":        {Records: []Single{{0, Hash{1}}}},
		"a record twice":       {Records: []Single{{4, Hash{1}}, {4, Hash{1}}}},
		"records out of order": {Records: []Single{{4, Hash{2}}, {4, Hash{1}}}},
		"a record of a span":   {Spans: []Span{{1, 3}}, Records: []Single{{3, Hash{1}}}},
		"kept out of order":    {Spans: []Span{{1, 3}}, Kept: []Single{{3, Hash{1}}, {2, Hash{1}}}},
		"kept twice":           {Spans: []Span{{1, 3}}, Kept: []Single{{3, Hash{1}}, {3, Hash{1}}}},
		"kept of no span":      {Spans: []Span{{1, 3}}, Kept: []Single{{4, Hash{1}}}},
	} {
		if got, err := DecodeVoid(v.Encode()); !errors.Is(err, ErrVoid) {
			t.Errorf("%s: got %v, %v, want ErrVoid", name, got, err)
		}
	}
	for name, b := range map[string][]byte{
		"a count beyond the bytes": {0xff, 0xff, 0xff, 0xff, 0, 0},
		"a position of before":     {0, 0, 0, 0, 0, 0, 0, 3},
		"none is kept":             {0x80, 0, 0, 0, 0, 0, 0, 0},
		"one byte":                 {1},
	} {
		if got, err := DecodeVoid(b); !errors.Is(err, ErrVoid) {
			t.Errorf("%s: got %v, %v, want ErrVoid", name, got, err)
		}
	}
}

func FuzzDecodeVoid(f *testing.F) {
	f.Add(Void{}.Encode())
	f.Add(VoidAll().Encode())
	f.Add(NewVoid([]Span{{1, 3}, {5, 6}}, []Single{{8, Hash{1}}, {9, Hash{2}}}).But([]Single{{2, Hash{3}}}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := DecodeVoid(b)
		if err != nil {
			if !errors.Is(err, ErrVoid) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(v.Encode(), b) {
			t.Fatalf("%x decoded, but encodes to %x", b, v.Encode())
		}
		if !v.Equal(NewVoid(v.Spans, v.Records).But(v.Kept)) {
			t.Fatalf("%v is not in its form", v)
		}
	})
}
