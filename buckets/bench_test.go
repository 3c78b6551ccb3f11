package buckets

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

// BenchmarkPut is the cost of a file above that of storing its blocks.
func BenchmarkPut(b *testing.B) {
	bucket := newReplicas(b, 1)[0]
	body := noise(1, 16<<20)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bucket.PutFile(b.Context(), "file", bytes.NewReader(body)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCat is the cost of a file above that of finding its blocks.
func BenchmarkCat(b *testing.B) {
	bucket := newReplicas(b, 1)[0]
	body := noise(1, 16<<20)
	if _, err := bucket.PutFile(b.Context(), "file", bytes.NewReader(body)); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := bucket.Cat(b.Context(), "file", io.Discard, Whole); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRoot derives the DAG of 10,000 files in 100 directories.
func BenchmarkRoot(b *testing.B) {
	var entries []entry
	for i := range 10_000 {
		c, err := rawCID([32]byte{byte(i), byte(i >> 8)})
		if err != nil {
			b.Fatal(err)
		}
		entries = append(entries, entry{
			path: fmt.Sprintf("d%02d/f%04d", i/100, i), current: c.String(),
			versions: map[string]version{c.String(): {cid: c, size: 10, tsize: 10}}, order: []string{c.String()},
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		t := newTree(nil)
		for _, e := range entries {
			if err := t.add(e); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := t.root(); err != nil {
			b.Fatal(err)
		}
	}
}
