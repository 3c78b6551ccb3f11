package canonical

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/weftdb/weft/internal/fault"
)

// Frames writes and reads the messages of a stream:
//
//	length u32be ‖ type byte ‖ body
//
// The length counts type and body: 1 to Max.
type Frames struct {
	Max int // bytes of type and body

	Malformed error // for a length that cannot be
	TooLarge  error // for a frame above Max that was to be written
}

// headSize is the size of a frame without its body.
const headSize = 5

// Append appends a frame to b; its body is the parts, one after the other.
func (f Frames) Append(b []byte, kind byte, parts ...[]byte) ([]byte, error) {
	n := 1
	for _, p := range parts {
		n += len(p)
	}
	if n > f.Max {
		return nil, fault.Of(f.TooLarge, "frame of %d bytes, at most %d", n, f.Max)
	}
	if b == nil {
		b = make([]byte, 0, headSize-1+n)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b = append(b, kind)
	for _, p := range parts {
		b = append(b, p...)
	}
	return b, nil
}

// Read reads a frame of at most limit bytes, which is at most Max; what is above
// is Malformed. Its length is checked before its body is allocated, and the body
// grows with what arrives, not with what is promised. A stream that ends between
// frames returns io.EOF, inside one io.ErrUnexpectedEOF; other errors of r are
// returned as they are.
func (f Frames) Read(r io.Reader, limit int) (kind byte, body []byte, err error) {
	var head [headSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	limit = min(limit, f.Max)
	length := binary.BigEndian.Uint32(head[:4])
	if length < 1 || uint64(length) > uint64(limit) {
		return 0, nil, fault.Of(f.Malformed, "frame of %d bytes, want 1 to %d", length, limit)
	}
	body, err = readBody(r, int(length)-1)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return 0, nil, err
	}
	return head[4], body, nil
}

// readBody reads n bytes. The space of a long body grows fourfold as it arrives: a
// peer that promises much and sends little costs little.
func readBody(r io.Reader, n int) ([]byte, error) {
	const first = 64 << 10
	if n <= first {
		body := make([]byte, n)
		_, err := io.ReadFull(r, body)
		return body, err
	}
	body := make([]byte, first, min(n, 4*first))
	read := 0
	for {
		m, err := io.ReadFull(r, body[read:])
		read += m
		if err != nil || read == n {
			return body[:read], err
		}
		body = append(body, make([]byte, min(n-read, read*3))...)
	}
}
