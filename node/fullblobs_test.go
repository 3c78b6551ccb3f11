package node_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
)

// A push that fills the disk is told once, leaves room to go on, and what it has stored in
// vain goes with the next compaction, without room from elsewhere.
func TestPushFillsDisk(t *testing.T) {
	disk := smallDisk(t)
	n := open(t, node.Config{Home: filepath.Join(disk, "home")})
	s := newShelf(t, n, "album", "")
	s.put("small.bin", content(1, 1<<20))
	_, err := s.b.PutFile(t.Context(), "large.bin", strings.NewReader(content(2, 120<<20)))
	if !fault.Is(err, fault.DiskFull) || strings.Count(err.Error(), "is full") != 1 || strings.Contains(err.Error(), ".tmp-") {
		t.Fatalf("a file larger than the disk: %v", err)
	}
	c := compact(t, n, "album")
	if c.BlobBytes < 40<<20 {
		t.Errorf("a compaction of the full disk: %+v", c)
	}
	s.put("next.bin", content(3, 20<<20))
	s.check()
}
