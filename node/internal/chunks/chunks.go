// Package chunks packs files into the messages of a push or a pull: many small
// files in one message, a large file over many.
//
//	Writer ─► messages ─► Reader
package chunks

import (
	"errors"
	"io"

	"github.com/weftdb/weft/internal/fault"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
)

// Bounds of one message.
const (
	maxBytes  = 512 << 10
	maxChunks = 512
)

// A Writer packs files into messages; the caller owes Flush. What it writes goes
// on with the file that was begun last.
type Writer struct {
	send  func([]*weftv1.FileChunk) error
	files []*weftv1.FileChunk
	held  []byte // the data of files, which alias it
}

// NewWriter returns a Writer of messages; send keeps no hold of one.
func NewWriter(send func([]*weftv1.FileChunk) error) *Writer {
	return &Writer{send: send, held: make([]byte, 0, maxBytes)}
}

// Begin begins a file, or tells of one by what f says.
func (w *Writer) Begin(f *weftv1.FileChunk) error {
	if len(w.files) >= maxChunks {
		if err := w.Flush(); err != nil {
			return err
		}
	}
	w.files = append(w.files, f)
	return nil
}

func (w *Writer) Write(p []byte) (int, error) {
	if len(w.held)+len(p) > cap(w.held) {
		if err := w.Flush(); err != nil {
			return 0, err
		}
	}
	if len(p) >= cap(w.held)/2 { // not worth a copy
		w.add(p)
		return len(p), w.Flush()
	}
	from := len(w.held)
	w.held = append(w.held, p...)
	w.add(w.held[from:])
	return len(p), nil
}

// add puts data into the chunk that the file is at.
func (w *Writer) add(p []byte) {
	if n := len(w.files); n > 0 && w.files[n-1].Data == nil {
		w.files[n-1].Data = p
		return
	}
	w.files = append(w.files, &weftv1.FileChunk{Data: p})
}

// Flush sends what is held.
func (w *Writer) Flush() error {
	if len(w.files) == 0 {
		return nil
	}
	err := w.send(w.files)
	w.files, w.held = w.files[:0], w.held[:0]
	return err
}

// A Reader gives the files of messages in turn; what it reads is the bytes of the
// file that Next gave last.
type Reader struct {
	receive func() ([]*weftv1.FileChunk, error)
	files   []*weftv1.FileChunk
	path    string // of the file that is read
	data    []byte // of it, not read yet
}

// NewReader returns a Reader of the messages that receive gives, whose error is
// io.EOF at the end. What it gave is not changed before it is called again.
func NewReader(receive func() ([]*weftv1.FileChunk, error)) *Reader {
	return &Reader{receive: receive}
}

// Next returns the chunk that begins the next file; its error is io.EOF at the
// end.
func (r *Reader) Next() (*weftv1.FileChunk, error) {
	for {
		c, err := r.chunk()
		if err != nil {
			return nil, err
		}
		if r.files = r.files[1:]; c.GetPath() != "" {
			r.path, r.data = c.GetPath(), c.GetData()
			return c, nil
		}
		if r.path == "" && len(c.GetData()) > 0 {
			return nil, fault.Errorf(fault.Malformed, "data before the name of a file")
		}
	}
}

// chunk returns the chunk that is next.
func (r *Reader) chunk() (*weftv1.FileChunk, error) {
	for len(r.files) == 0 {
		var err error
		if r.files, err = r.receive(); err != nil {
			return nil, err
		}
	}
	return r.files[0], nil
}

// more has data of the file; its error is io.EOF at the file's end.
func (r *Reader) more() error {
	for len(r.data) == 0 {
		c, err := r.chunk()
		switch {
		case errors.Is(err, io.EOF):
			return io.EOF
		case err != nil:
			return err
		case c.GetPath() == r.path && c.GetReason() != "":
			r.files = r.files[1:]
			return errors.New(c.GetReason())
		case c.GetPath() != "":
			return io.EOF
		}
		r.files, r.data = r.files[1:], c.GetData()
	}
	return nil
}

func (r *Reader) Read(p []byte) (int, error) {
	if err := r.more(); err != nil {
		return 0, err
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

// WriteTo writes the rest of the file to w.
func (r *Reader) WriteTo(w io.Writer) (n int64, err error) {
	for {
		if err := r.more(); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return n, err
		}
		m, err := w.Write(r.data)
		n, r.data = n+int64(m), r.data[m:]
		if err != nil {
			return n, err
		}
	}
}
