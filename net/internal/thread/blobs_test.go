package thread

import (
	"bytes"
	"testing"

	"github.com/weftdb/weft/net/internal/format"
)

// named makes BlobNames that find the given blobs in any record, as lists.
func named(ids ...format.BlobID) BlobNames {
	return BlobNames{
		Payload: func(_ []byte, f func(format.BlobID, bool)) {
			for _, id := range ids {
				f(id, true)
			}
		},
		List: func(p []byte) (ids []format.BlobID) {
			if !bytes.HasPrefix(p, []byte("list")) {
				return nil
			}
			return []format.BlobID{format.BlobID(p[4:])}
		},
	}
}

// Blobs that no record names are deleted, also all of them; numbers are not given twice,
// whatever is opened again, and lists to peers pass over what is gone.
func TestCollectBlobs(t *testing.T) {
	a := newTestNode(t)
	th := a.create(t)
	a.write(t, th, "a record")
	put := func(th *Thread, p []byte) format.BlobID {
		t.Helper()
		id, err := th.PutBlob(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	collect := func(th *Thread, n BlobNames, want int64) {
		t.Helper()
		if got, _, err := th.CollectBlobs(t.Context(), n); err != nil || got != want {
			t.Fatalf("%d blobs were deleted, %v, want %d", got, err, want)
		}
	}
	leaf := put(th, bytes.Repeat([]byte{1}, 100_000))
	list := put(th, append([]byte("list"), leaf[:]...))
	put(th, bytes.Repeat([]byte{2}, 100_000))
	last := put(th, []byte{3})
	collect(th, named(list), 2)
	if !th.HasBlob(leaf) || !th.HasBlob(list) || th.HasBlob(last) {
		t.Fatal("other blobs are held than those named")
	}
	refs, upTo, err := th.BlobsAfter(0, 100)
	if err != nil || len(refs) != 2 || upTo != 4 {
		t.Fatalf("got %v up to %d, %v", refs, upTo, err)
	}
	if refs, upTo, err = th.BlobsAfter(2, 100); err != nil || len(refs) != 0 || upTo != 4 {
		t.Fatalf("got %v up to %d, %v", refs, upTo, err)
	}
	// One that is put again has a new number, and is listed again.
	put(th, bytes.Repeat([]byte{1}, 100_000))
	if refs, _, err = th.BlobsAfter(4, 100); err != nil || len(refs) != 1 || refs[0] != (BlobRef{N: 5, ID: leaf, Size: refs[0].Size}) {
		t.Fatalf("got %v, %v", refs, err)
	}
	if c := th.Counts(); c.Blobs != 2 || c.BlobBytes < 100_000 || c.BlobBytes > 101_000 {
		t.Fatalf("got %+v", c)
	}
	collect(th, named(), 2)
	if c := th.Counts(); c.Blobs != 0 || c.BlobBytes != 0 {
		t.Fatalf("got %+v", c)
	}
	again, err := Open(t.Context(), a.env, th.ID())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	if c := again.Counts(); c.Blobs != 0 || c.BlobBytes != 0 || again.LastBlob() != 5 {
		t.Fatalf("got %+v, last %d", c, again.LastBlob())
	}
	put(again, []byte{3})
	if refs, upTo, err = again.BlobsAfter(5, 100); err != nil || len(refs) != 1 || upTo != 6 {
		t.Fatalf("got %v up to %d, %v", refs, upTo, err)
	}
}
