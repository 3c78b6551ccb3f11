package chunks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"google.golang.org/protobuf/proto"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
)

// What goes in comes out, many small files in a message and a large one over
// many; a file whose reading failed is void from there.
func TestFilesOfMessages(t *testing.T) {
	var messages []*weftv1.PushRequest
	w := NewWriter(func(files []*weftv1.FileChunk) error {
		m := proto.CloneOf(&weftv1.PushRequest{Files: files})
		if size := proto.Size(m); size > 2*maxBytes {
			t.Errorf("a message of %d bytes", size)
		}
		messages = append(messages, m)
		return nil
	})
	sizes := []int{0, 1, 4 << 10, maxBytes/2 - 1, maxBytes / 2, maxBytes, 3*maxBytes + 1}
	for range 2000 {
		sizes = append(sizes, 10)
	}
	content := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, sizes[i]) }
	for i := range sizes {
		if err := w.Begin(&weftv1.FileChunk{Path: fmt.Sprint(i), Size: int64(sizes[i])}); err != nil {
			t.Fatal(err)
		}
		for rest := content(i); len(rest) > 0; rest = rest[min(len(rest), 256<<10):] {
			if _, err := w.Write(rest[:min(len(rest), 256<<10)]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, f := range []*weftv1.FileChunk{{Path: "half"}, {Path: "half", Reason: "the disk broke"}, {Path: "link", Reason: "is a link"}, {Path: "dir/"}} {
		if err := w.Begin(f); err != nil {
			t.Fatal(err)
		}
		if f.Path == "half" && f.Reason == "" {
			if _, err := w.Write([]byte("half")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if len(messages) > 24 {
		t.Errorf("%d messages", len(messages))
	}
	r := NewReader(func() ([]*weftv1.FileChunk, error) {
		if len(messages) == 0 {
			return nil, io.EOF
		}
		m := messages[0]
		messages = messages[1:]
		return m.GetFiles(), nil
	})
	for i := range sizes {
		f, err := r.Next()
		if err != nil || f.GetPath() != fmt.Sprint(i) {
			t.Fatalf("got %v %v, want file %d", f, err, i)
		}
		if i%7 == 3 {
			continue // what is not read is passed over
		}
		var got bytes.Buffer
		if i%2 == 0 {
			_, err = r.WriteTo(&got)
		} else {
			_, err = io.Copy(&got, struct{ io.Reader }{r})
		}
		if err != nil || !bytes.Equal(got.Bytes(), content(i)) {
			t.Fatalf("file %d: got %d bytes, %v, want %d", i, got.Len(), err, sizes[i])
		}
	}
	if f, err := r.Next(); err != nil || f.GetPath() != "half" {
		t.Fatal(f, err)
	}
	if got, err := io.ReadAll(r); string(got) != "half" || err == nil || err.Error() != "the disk broke" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, want := range []string{"link", "dir/"} {
		if f, err := r.Next(); err != nil || f.GetPath() != want {
			t.Errorf("got %v %v, want %s", f, err, want)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v at the end", err)
	}
}
