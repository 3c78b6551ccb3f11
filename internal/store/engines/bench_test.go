package engines_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/internal/store/storetest"
)

const (
	docs    = 135_000
	docSize = 254
)

// body gives the bytes of document i: half of them random, as compression finds
// something in real documents and not all.
func body(i int) []byte {
	random := make([]byte, docSize/2)
	_, _ = rand.NewChaCha8([32]byte(fmt.Appendf(nil, "%032d", i))).Read(random) // it cannot fail
	return fmt.Appendf(nil, "%x", random)
}

func docKey(i int) []byte {
	return binary.BigEndian.AppendUint64([]byte("d/collection/"), uint64(i)*0x9e3779b97f4a7c15)
}

func indexKey(i int) []byte { return fmt.Appendf(nil, "i/collection/name/%09d", i) }

// insert commits n documents with an index entry each, then syncs.
func insert(tb testing.TB, s store.Store, from int, bodies [][]byte) {
	tx := s.Begin()
	defer tx.Discard()
	for i, doc := range bodies {
		i += from
		if err := errors.Join(tx.Put(docKey(i), doc), tx.Put(indexKey(i), nil)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := errors.Join(tx.Commit(), s.Sync()); err != nil {
		tb.Fatal(err)
	}
}

// rawInsert is insert on badger itself.
func rawInsert(tb testing.TB, r *storetest.Raw, from int, bodies [][]byte) {
	var keys, index [][]byte
	for i := from; i < from+len(bodies); i++ {
		keys, index = append(keys, docKey(i)), append(index, indexKey(i))
	}
	if err := r.Insert(keys, index, bodies); err != nil {
		tb.Fatal(err)
	}
}

func BenchmarkInsert(b *testing.B) {
	for _, n := range []int{1, 1000} {
		docs := bodies(0, n)
		for _, engine := range engines.Names() {
			b.Run(fmt.Sprintf("%s/%d", engine, n), func(b *testing.B) {
				s := opener(engine)(b, b.TempDir())
				i := 0
				b.ReportAllocs()
				for b.Loop() {
					insert(b, s, i, docs)
					i += n
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			})
		}
		b.Run(fmt.Sprintf("raw/%d", n), func(b *testing.B) {
			d, err := storetest.OpenRaw(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				rawInsert(b, d, i, docs)
				i += n
			}
			if err := d.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// bodies gives those of n documents.
func bodies(from, n int) (all [][]byte) {
	for i := range n {
		all = append(all, body(from+i))
	}
	return all
}

// fill inserts all documents in batches.
func fill(tb testing.TB, s store.Store) {
	for i := 0; i < docs; i += 1000 {
		insert(tb, s, i, bodies(i, 1000))
	}
}

func BenchmarkRead(b *testing.B) {
	for _, engine := range engines.Names() {
		s := opener(engine)(b, b.TempDir())
		start := time.Now()
		fill(b, s)
		b.Logf("%s: %d documents in batches of 1,000 in %v", engine, docs, time.Since(start))
		b.Run(engine+"/Scan", func(b *testing.B) {
			for b.Loop() {
				scan(b, s, store.Range{Lower: []byte("d/"), Upper: []byte("d0")})
			}
		})
		b.Run(engine+"/ScanKeysReverse", func(b *testing.B) {
			for b.Loop() {
				scan(b, s, store.Range{Lower: []byte("i/"), Upper: []byte("i0"), Reverse: true, KeysOnly: true})
			}
		})
		b.Run(engine+"/Get", func(b *testing.B) {
			snap := s.Snapshot()
			defer snap.Release()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := snap.Get(docKey(i * 7919 % docs)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(engine+"/SeekOne", func(b *testing.B) {
			snap := s.Snapshot()
			defer snap.Release()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				it := snap.Iterate(store.Prefix(indexKey(i * 7919 % docs)))
				if !it.Valid() {
					b.Fatal("no entry")
				}
				it.Close()
			}
		})
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func scan(b *testing.B, s store.Store, r store.Range) {
	snap := s.Snapshot()
	defer snap.Release()
	it, n := snap.Iterate(r), 0
	defer it.Close()
	for ; it.Valid(); it.Next() {
		if !r.KeysOnly {
			if _, err := it.Value(); err != nil {
				b.Fatal(err)
			}
		}
		n++
	}
	if n != docs || it.Err() != nil {
		b.Fatalf("got %d documents, %v", n, it.Err())
	}
}

// BenchmarkOpen opens a store after a close and, from a copy of the files of
// an open store, as a kill leaves it.
func BenchmarkOpen(b *testing.B) {
	for _, engine := range engines.Names() {
		dir, killed := b.TempDir(), b.TempDir()
		s := opener(engine)(b, dir)
		fill(b, s)
		copyDir(b, dir, killed)
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.Run(engine+"/Closed", func(b *testing.B) {
			for b.Loop() {
				s := opener(engine)(b, dir)
				b.StopTimer()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
		b.Run(engine+"/Killed", func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				d := b.TempDir()
				copyDir(b, killed, d)
				b.StartTimer()
				s := opener(engine)(b, d)
				b.StopTimer()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

func copyDir(b *testing.B, from, to string) {
	names, err := filepath.Glob(filepath.Join(from, "*"))
	if err != nil {
		b.Fatal(err)
	}
	if out, err := exec.Command("cp", append(names, to)...).CombinedOutput(); err != nil && len(out) > 0 {
		b.Log(string(out)) // a file that went away meanwhile
	}
	if _, err := os.Stat(filepath.Join(to, "ENGINE")); err != nil {
		b.Fatal(err)
	}
}
