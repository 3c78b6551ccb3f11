package node_test

import (
	"testing"

	"github.com/weftdb/weft/node"
)

// The disk that a status tells of has the files of blobs in it.
func TestStatusCountsBlobs(t *testing.T) {
	n := open(t, node.Config{})
	newShelf(t, n, "album", "").put("a.bin", content(1, 3<<20))
	s, err := n.Status()
	if err != nil {
		t.Fatal(err)
	}
	if s.Bytes < 3<<20 || s.Bytes > 30<<20 {
		t.Errorf("%d bytes with a file of 3 MiB", s.Bytes)
	}
}
