package buckets

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	chunker "github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"
)

// noise returns n bytes that do not repeat.
func noise(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1})
	p := make([]byte, n)
	_, _ = r.Read(p)
	return p
}

// discard is the DAG service of what boxo builds in memory and is only asked for
// its root: it keeps nothing and has nothing.
type discard struct{}

func (discard) Add(context.Context, ipld.Node) error       { return nil }
func (discard) AddMany(context.Context, []ipld.Node) error { return nil }
func (discard) Remove(context.Context, cid.Cid) error      { return nil }
func (discard) RemoveMany(context.Context, []cid.Cid) error {
	return nil
}

func (discard) Get(_ context.Context, c cid.Cid) (ipld.Node, error) {
	return nil, ipld.ErrNotFound{Cid: c}
}

func (discard) GetMany(context.Context, []cid.Cid) <-chan *ipld.NodeOption {
	out := make(chan *ipld.NodeOption)
	close(out)
	return out
}

// imported is what boxo's importer makes of a file.
func imported(t *testing.T, r io.Reader, chunk int64) ipld.Node {
	t.Helper()
	p := helpers.DagBuilderParams{Maxlinks: fileWidth, RawLeaves: true, CidBuilder: dagPB.Prefix, Dagserv: discard{}}
	b, err := p.New(chunker.NewSizeSplitter(r, chunk))
	if err != nil {
		t.Fatal(err)
	}
	n, err := balanced.Layout(b)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// derived is what we make of a file, with leaves of any size.
func derived(t *testing.T, p []byte, chunk int) link {
	t.Helper()
	var b fileBuilder
	for len(p) > 0 {
		n := min(chunk, len(p))
		if err := b.leaf(sha256.Sum256(p[:n]), int64(n)); err != nil {
			t.Fatal(err)
		}
		p = p[n:]
	}
	l, err := b.root()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestKnownCIDs(t *testing.T) {
	if got := derived(t, nil, ChunkSize).cid.String(); got != emptyFileCID {
		t.Errorf("empty file: got %s, want %s", got, emptyFileCID)
	}
	// ipfs add --cid-version=1 --raw-leaves of "hello world\n".
	if got, want := derived(t, []byte("hello world\n"), ChunkSize).cid.String(), "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"; got != want {
		t.Errorf("hello world: got %s, want %s", got, want)
	}
	dir, err := newDAG(nil).directoryNode(nil)
	if err != nil {
		t.Fatal(err)
	}
	if dir.cid.String() != emptyDirCID || dir.tsize != emptyDirSize {
		t.Errorf("empty directory: got %s of %d, want %s of %d", dir.cid, dir.tsize, emptyDirCID, emptyDirSize)
	}
}

// A file's root is the one that boxo's importer gives, whatever the height.
func TestFileMatchesImporter(t *testing.T) {
	const chunk = 8 // small leaves make high trees of few bytes
	for _, leaves := range []int{1, 2, fileWidth - 1, fileWidth, fileWidth + 1, 2 * fileWidth, fileWidth*fileWidth - 1, fileWidth * fileWidth, fileWidth*fileWidth + 1, fileWidth*fileWidth + fileWidth + 3} {
		p := noise(uint64(leaves), leaves*chunk-3)
		want := imported(t, bytes.NewReader(p), chunk)
		size, err := want.Size()
		if err != nil {
			t.Fatal(err)
		}
		got := derived(t, p, chunk)
		if got.cid != want.Cid() || got.tsize != size || got.size != uint64(len(p)) {
			t.Fatalf("%d leaves: got %s of %d/%d, want %s of %d/%d", leaves, got.cid, got.size, got.tsize, want.Cid(), len(p), size)
		}
	}
	p := noise(7, 3*ChunkSize+5)
	if got, want := derived(t, p, ChunkSize).cid, imported(t, bytes.NewReader(p), ChunkSize).Cid(); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

// A stub is a node of which only the link to it is known.
type stub struct {
	*merkledag.RawNode
	tsize uint64
}

func (s stub) Size() (uint64, error) { return s.tsize, nil }

func TestDirectoryMatchesBoxo(t *testing.T) {
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{0, 1, 3, 100, 4000, 6000}).Draw(t, "children")
		seed := rapid.Uint64().Draw(t, "seed")
		want, err := uio.NewDirectory(discard{}, uio.WithCidBuilder(dagPB.Prefix), uio.WithMaxHAMTFanout(shardWidth), uio.WithSizeEstimationMode(uio.SizeEstimationLinks))
		if err != nil {
			t.Fatal(err)
		}
		want.SetHAMTShardingSize(shardThreshold)
		var children []child
		for i := range n {
			p := fmt.Appendf(nil, "%d/%d", seed, i)
			c, err := rawCID(sha256.Sum256(p))
			if err != nil {
				t.Fatal(err)
			}
			block, err := blocks.NewBlockWithCid(p, c)
			if err != nil {
				t.Fatal(err)
			}
			name := fmt.Sprintf("%x-%d.txt", seed, i)
			children = append(children, child{name: name, link: link{cid: c, tsize: seed>>40 + uint64(i)}})
			if err := want.AddChild(ctx, name, stub{&merkledag.RawNode{Block: block}, seed>>40 + uint64(i)}); err != nil {
				t.Fatal(err)
			}
		}
		node, err := want.GetNode()
		if err != nil {
			t.Fatal(err)
		}
		size, err := node.Size()
		if err != nil {
			t.Fatal(err)
		}
		got, err := newDAG(nil).directoryNode(children)
		if err != nil {
			t.Fatal(err)
		}
		if got.cid != node.Cid() || got.tsize != size {
			t.Fatalf("%d children: got %s of %d, want %s of %d", n, got.cid, got.tsize, node.Cid(), size)
		}
	})
}

// added is what boxo's importer and directories make of a folder.
func added(t *testing.T, dir string) ipld.Node {
	t.Helper()
	d, err := uio.NewDirectory(discard{}, uio.WithCidBuilder(dagPB.Prefix))
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		var node ipld.Node
		if e.IsDir() {
			node = added(t, filepath.Join(dir, e.Name()))
		} else {
			p, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			node = imported(t, bytes.NewReader(p), ChunkSize)
		}
		if err := d.AddChild(t.Context(), e.Name(), node); err != nil {
			t.Fatal(err)
		}
	}
	node, err := d.GetNode()
	if err != nil {
		t.Fatal(err)
	}
	return node
}

func TestCheckPath(t *testing.T) {
	for _, p := range []string{"a", "a/b", "é", "e\u0301", "a b", "...", "a/..b", "dir/", strings.Repeat("a/", MaxDepth-1) + "a"} {
		if err := CheckPath(p); err != nil {
			t.Errorf("%q: got %v, want no error", p, err)
		}
	}
	for _, p := range []string{"", "/", "/a", "a//b", "a//", ".", "..", "a/../b", "../a", "a/.", "./a", "a\x00b", `a\b`, "a\nb", "\xff", strings.Repeat("a/", MaxDepth) + "a", strings.Repeat("a", MaxPath+1)} {
		if err := CheckPath(p); !errors.Is(err, ErrPath) {
			t.Errorf("%q: got %v, want ErrPath", p, err)
		}
	}
}

func FuzzDecodeManifest(f *testing.F) {
	f.Add(encodeManifest([]leaf{{size: ChunkSize}, {size: 3}}))
	f.Fuzz(func(t *testing.T, p []byte) {
		leaves, err := decodeManifest(p)
		if err != nil {
			return
		}
		if again := encodeManifest(leaves); !bytes.Equal(again, p) {
			t.Fatalf("got %x, want %x", again, p)
		}
	})
}

func FuzzDecodeEntry(f *testing.F) {
	c, err := cid.Decode(emptyFileCID)
	if err != nil {
		f.Fatal(err)
	}
	raw, err := bson.Marshal(bson.D{
		{Key: "_id", Value: "a"},
		{Key: "cid", Value: c.String()},
		{Key: "size", Value: int64(0)},
		{Key: "tsize", Value: int64(0)},
		{Key: "v", Value: bson.D{{Key: c.String(), Value: bson.D{{Key: "size", Value: int64(0)}, {Key: "tsize", Value: int64(0)}}}}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(raw))
	f.Fuzz(func(t *testing.T, p []byte) {
		e, err := decodeEntry(p)
		if err != nil {
			return
		}
		if CheckPath(e.path) != nil || !e.version().cid.Defined() {
			t.Fatalf("accepted %+v", e)
		}
	})
}
