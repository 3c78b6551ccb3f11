package blobs

import (
	"errors"
	"os"
	"testing"

	"github.com/weftdb/weft/net/internal/format"
)

// alter flips a bit of a blob's file, or removes the file.
func alter(t *testing.T, s *Store, id format.BlobID, remove bool) (whole []byte) {
	t.Helper()
	whole, err := os.ReadFile(s.path(id))
	if err != nil {
		t.Fatal(err)
	}
	if remove {
		err = os.Remove(s.path(id))
	} else {
		b := append([]byte(nil), whole...)
		b[len(b)/2] ^= 1
		err = os.WriteFile(s.path(id), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return whole
}

// A blob whose bytes are damaged is dropped, and one that is whole is not; that it was held
// is kept, until it is put or taken again, or its file is whole again.
func TestDrop(t *testing.T) {
	th := newTestThread(t)
	s := th.open(t)
	plains := [][]byte{block(1, 100), block(2, 100_000), block(3, 100_000), block(4, 100_000), block(5, 100_000)}
	ids := put(t, s, plains...)
	_, size := s.Counts()
	taken := alter(t, s, ids[1], false)
	alter(t, s, ids[2], true)
	whole := alter(t, s, ids[3], false)
	for _, id := range ids[1:4] {
		if _, err := s.Sealed(id); !errors.Is(err, ErrDamagedBlob) {
			t.Errorf("damaged bytes: got %v", err)
		}
	}
	if n, err := s.Drop(t.Context(), append(ids, format.BlobID{9})...); n != 3 || err != nil {
		t.Fatalf("dropped %d, %v, want the 3 that are damaged", n, err)
	}
	if n, err := s.Drop(t.Context(), ids...); n != 0 || err != nil {
		t.Fatalf("again: dropped %d, %v", n, err)
	}
	check := func(lacking int64) {
		t.Helper()
		for _, s := range []*Store{s, th.open(t)} { // as it is, and as the next start finds it
			lacks, err := s.Lacks(0)
			n, bytes := s.Counts()
			if err != nil || s.Lacking() != lacking || int64(len(lacks)) != lacking || n != int64(len(ids))-lacking || bytes != size*n/5 && lacking == 0 {
				t.Fatalf("%d lacking %v, %d held of %d bytes, %v, want %d", s.Lacking(), lacks, n, bytes, err, lacking)
			}
			for _, l := range lacks {
				if l.Size != len(taken) || l.Since.IsZero() || s.Has(l.ID) {
					t.Errorf("got %+v, held %v", l, s.Has(l.ID))
				}
			}
		}
	}
	check(3)
	refs, _, err := s.After(0, 100)
	if err != nil || len(refs) != 2 {
		t.Fatalf("listed: %v, %v", refs, err)
	}

	if err := s.Take(t.Context(), [][]byte{taken}); err != nil { // from a peer
		t.Fatal(err)
	}
	check(2)
	put(t, s, plains[2]) // again
	check(1)
	if n, err := s.Retake(t.Context()); n != 0 || err != nil {
		t.Fatalf("took back %d, %v, of a file that is altered", n, err)
	}
	if err := os.WriteFile(s.path(ids[3]), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Retake(t.Context()); n != 1 || err != nil {
		t.Fatalf("took back %d, %v", n, err)
	}
	check(0)
	for i, id := range ids {
		if plain, err := s.Open(t.Context(), id); err != nil || len(plain) != len(plains[i]) {
			t.Errorf("blob %d: %d bytes, %v", i, len(plain), err)
		}
	}
}

// What is lacking and not named is forgotten, file and all. While one is lacking that may
// list others, which are then not known to be named, nothing is collected.
func TestCollectLacking(t *testing.T) {
	th := newTestThread(t)
	s := th.open(t)
	ids := put(t, s, block(1, 100_000), block(2, 100_000), block(3, 100_000))
	alter(t, s, ids[0], false)
	if n, err := s.Drop(t.Context(), ids[0]); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n, _, err := s.Collect(t.Context(), recorded{ids[0], ids[1]}); n != 0 || !errors.Is(err, ErrBlobsHeld) {
		t.Fatalf("a list is lacking: got %d collected, %v", n, err)
	}
	if _, err := os.Stat(s.path(ids[0])); err != nil || s.Lacking() != 1 || !s.Has(ids[2]) {
		t.Fatalf("got %v, %d lacking", err, s.Lacking())
	}
	if n, _, err := s.Collect(t.Context(), recorded{ids[1]}); n != 1 || err != nil {
		t.Fatalf("got %d collected, %v", n, err)
	}
	if _, err := os.Stat(s.path(ids[0])); !errors.Is(err, os.ErrNotExist) || s.Lacking() != 0 || !s.Has(ids[1]) {
		t.Fatalf("got %v, %d lacking", err, s.Lacking())
	}
}
