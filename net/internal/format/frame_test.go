package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// A compressed piece is one frame that every zstd decoder reads alike: others are
// malformed, though the library takes them.
func TestOneFrame(t *testing.T) {
	text := bytes.Repeat([]byte("weft "), 1000)
	n := uint64(len(text))
	compress := func(p []byte, o ...zstd.EOption) []byte {
		t.Helper()
		enc, err := zstd.NewWriter(nil, append([]zstd.EOption{zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true)}, o...)...)
		if err != nil {
			t.Fatal(err)
		}
		return enc.EncodeAll(p, nil)
	}
	stream := func(p []byte) []byte { // without its size
		t.Helper()
		var b bytes.Buffer
		enc, err := zstd.NewWriter(&b, zstd.WithEncoderCRC(false))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := enc.Write(p); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(enc.Flush(), enc.Close()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	good := compress(text)
	skippable := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 0x184D2A50), 3)
	skippable = append(skippable, "abc"...)
	lie := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, 100, 0, 0, 0} // says 100 bytes; its one block repeats a byte
	lie[6], lie[7], lie[8] = byte(60_000<<3&0xff)|1<<1|1, byte(60_000<<3>>8&0xff), byte(60_000<<3>>16)
	lie = append(lie, 'x')
	c := testSealer(t)
	open := func(data []byte, n uint64) error {
		_, err := c.expand(nil, append(binary.AppendUvarint([]byte{methodZstd}, n), data...), 1)
		return err
	}
	for name, x := range map[string]struct {
		data []byte
		n    uint64
		want error
	}{
		"as it is made":           {good, n, nil},
		"two frames":              {append(compress(text[:1000]), compress(text[1000:])...), n, ErrMalformed},
		"a skippable frame last":  {append(bytes.Clone(good), skippable...), n, ErrMalformed},
		"a skippable frame":       {append(bytes.Clone(skippable), good...), n, ErrMalformed},
		"an empty frame last":     {append(bytes.Clone(good), compress(nil)...), n, ErrMalformed},
		"a checksum":              {compress(text, zstd.WithEncoderCRC(true)), n, ErrMalformed},
		"several segments":        {compress(text, zstd.WithSingleSegment(false)), n, ErrMalformed},
		"no size":                 {stream(text), n, ErrMalformed},
		"a byte too few":          {good[:len(good)-1], n, ErrMalformed},
		"nothing":                 {nil, n, ErrMalformed},
		"a smaller size said":     {good, n - 1, ErrBomb},
		"a larger size said":      {good, n + 1, ErrMalformed},
		"a frame that lies":       {lie, 100, ErrBomb},
		"a frame of another kind": {append([]byte{1, 2, 3, 4}, good[4:]...), n, ErrMalformed},
	} {
		if err := open(x.data, x.n); !errors.Is(err, x.want) {
			t.Errorf("%s: got %v, want %v", name, err, x.want)
		}
	}
}
