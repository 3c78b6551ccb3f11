package wire

import (
	"io"
	"sync"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/format"
)

// messages encodes what is said on a stream, and what the exchange remembers.
var messages = canonical.New(canonical.Options{
	Elements: 1 << 17, Nesting: 8, Malformed: ErrFrame, TooLarge: ErrFrame,
})

var frames = canonical.Frames{Max: format.MaxFrame, Malformed: ErrFrame, TooLarge: ErrFrame}

// Encode returns the one encoding of a value.
func Encode(v any) []byte { return messages.Encode(v) }

// Decode reads a value strictly into v, a pointer.
func Decode(b []byte, v any) error { return messages.Decode(b, "message", v) }

// Read reads one frame of any length that may be.
func Read(r io.Reader) (Kind, []byte, error) { return ReadAtMost(r, format.MaxFrame) }

// ReadAtMost reads one frame whose type and body are at most limit bytes.
func ReadAtMost(r io.Reader, limit int) (Kind, []byte, error) {
	kind, body, err := frames.Read(r, limit)
	return Kind(kind), body, err
}

// As reads the body of a frame of type kind as an M.
func As[M Message](kind Kind, body []byte) (m M, err error) {
	if want := m.Kind(); kind != want {
		return m, fault.Of(ErrFrame, "frame of type %d, want %v", kind, want)
	}
	if err := Decode(body, &m); err != nil {
		return m, err
	}
	if c, ok := any(m).(interface{ check() error }); ok {
		return m, c.check()
	}
	return m, nil
}

// Next reads one frame of at most limit bytes, which carries an M.
func Next[M Message](r io.Reader, limit int) (m M, err error) {
	kind, body, err := ReadAtMost(r, limit)
	if err != nil {
		return m, err
	}
	return As[M](kind, body)
}

// A Writer sends frames; several goroutines may share it.
type Writer struct {
	mu sync.Mutex // one frame at a time
	w  io.Writer
}

// NewWriter returns a writer to one stream.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Send encodes and sends one message.
func (w *Writer) Send(m Message) error { return w.SendRaw(m.Kind(), Encode(m)) }

// SendRun sends one run.
func (w *Writer) SendRun(r format.Run) error { return w.SendRaw(KindRun, format.EncodeRun(r)) }

// SendBlob sends one blob; sealed is empty if it is not held.
func (w *Writer) SendBlob(id, sealed []byte) error { return w.SendRaw(KindBlob, id, sealed) }

// SendTags sends sorted tags, in as many frames as they need.
func (w *Writer) SendTags(tags []byte) error {
	for {
		n := min(len(tags), tagsPerFrame*TagSize)
		if err := w.Send(Hello{More: n < len(tags), Tags: tags[:n]}); err != nil {
			return err
		}
		if tags = tags[n:]; len(tags) == 0 {
			return nil
		}
	}
}

// SendRaw sends one frame whole; its body is the parts, one after the other.
func (w *Writer) SendRaw(kind Kind, parts ...[]byte) error {
	frame, err := frames.Append(nil, byte(kind), parts...)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err = w.w.Write(frame)
	return err
}
