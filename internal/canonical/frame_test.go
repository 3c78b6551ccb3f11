package canonical

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"
)

func frames() Frames { return Frames{Max: 1 << 20, Malformed: errMalformed, TooLarge: errTooLarge} }

func TestFrames(t *testing.T) {
	f := frames()
	var stream []byte
	sizes := []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 300 << 10, f.Max - 1}
	for i, n := range sizes {
		var err error
		half := bytes.Repeat([]byte{byte(i)}, n/2)
		if stream, err = f.Append(stream, byte(i), half, bytes.Repeat([]byte{byte(i)}, n-n/2)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.HasPrefix(stream, []byte{0, 0, 0, 1, 0, 0, 0, 0, 2, 1, 1}) {
		t.Errorf("got %x", stream[:16])
	}
	r := iotest.HalfReader(bytes.NewReader(stream))
	for i, n := range sizes {
		kind, body, err := f.Read(r, f.Max)
		if err != nil || kind != byte(i) || !bytes.Equal(body, bytes.Repeat([]byte{byte(i)}, n)) {
			t.Fatalf("frame %d: got type %d, %d bytes, %v", i, kind, len(body), err)
		}
	}
	if _, _, err := f.Read(r, f.Max); !errors.Is(err, io.EOF) {
		t.Errorf("after the last: got %v, want EOF", err)
	}
}

func TestFrameBounds(t *testing.T) {
	f := frames()
	if _, err := f.Append(nil, 1, make([]byte, f.Max)); !errors.Is(err, errTooLarge) {
		t.Errorf("a frame above the maximum was made: %v", err)
	}
	for name, x := range map[string]struct {
		in    []byte
		limit int
	}{
		"no type":         {[]byte{0, 0, 0, 0, 1}, f.Max},
		"above all":       {[]byte{0xff, 0xff, 0xff, 0xff, 1}, f.Max},
		"above the limit": {[]byte{0, 0, 0, 101, 1}, 100},
		"above Max":       {[]byte{0, 0x10, 0, 1, 1}, 1 << 30},
	} {
		if _, _, err := f.Read(bytes.NewReader(x.in), x.limit); !errors.Is(err, errMalformed) {
			t.Errorf("%s: got %v, want malformed", name, err)
		}
	}
}

// A stream that ends inside a frame is never taken for one that ended.
func TestFrameCutShort(t *testing.T) {
	f := frames()
	for _, n := range []int{1, 100, 100 << 10} {
		p, err := f.Append(nil, 1, make([]byte, n))
		if err != nil {
			t.Fatal(err)
		}
		for _, cut := range []int{1, 4, 5, len(p) - 1} {
			if _, _, err := f.Read(bytes.NewReader(p[:cut]), f.Max); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d of %d bytes: got %v", cut, len(p), err)
			}
		}
		broken := errors.New("reset")
		r := io.MultiReader(bytes.NewReader(p[:5]), iotest.ErrReader(broken))
		if _, _, err := f.Read(r, f.Max); !errors.Is(err, broken) {
			t.Errorf("got %v, want the reader's error", err)
		}
	}
}

// What a peer promises is not allocated before it comes.
func TestFramePromise(t *testing.T) {
	f := Frames{Max: 1 << 30, Malformed: errMalformed, TooLarge: errTooLarge}
	in := []byte{0x3f, 0xff, 0xff, 0xff, 1}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, _, err := f.Read(bytes.NewReader(in), f.Max); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("a frame without its body: %v", err)
	}
	runtime.ReadMemStats(&after)
	got := after.TotalAlloc - before.TotalAlloc
	if got > 512<<10 {
		t.Errorf("a promise costs %d bytes", got)
	}
}

func FuzzFrame(f *testing.F) {
	fr := frames()
	p, err := fr.Append(nil, 7, []byte("body"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p)
	f.Add(p[:6])
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		for {
			start := len(in) - r.Len()
			kind, body, err := fr.Read(r, fr.Max)
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, errMalformed) {
					t.Fatal(err)
				}
				return
			}
			again, err := fr.Append(nil, kind, body)
			if err != nil || !bytes.Equal(again, in[start:len(in)-r.Len()]) {
				t.Fatalf("got %x, %v", again, err)
			}
		}
	})
}
