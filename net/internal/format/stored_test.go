package format

import (
	"bytes"
	"testing"
)

func FuzzStored(f *testing.F) {
	f.Add((&Stored{Record: Record{Header: []byte("h"), Body: []byte("b")}, Signed: true}).Encode())
	f.Add((&Stored{Record: Record{Header: []byte("h"), Body: []byte("b")}}).Encode())
	f.Fuzz(func(t *testing.T, p []byte) {
		if s, err := DecodeStored(p); err == nil && !bytes.Equal(s.Encode(), p) {
			t.Fatal("encoding again gives other bytes")
		}
	})
}
