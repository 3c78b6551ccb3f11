package buckets

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/hamt"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	mh "github.com/multiformats/go-multihash"
)

// The pinned UnixFS profile: what `ipfs add --cid-version=1 --raw-leaves` does.
// Changing any of these changes roots: it needs a new kind of bucket.
const (
	// ChunkSize is the size of every leaf but a file's last.
	ChunkSize = 256 << 10
	// fileWidth is the most links of a file node (balanced layout).
	fileWidth = 174
	// shardThreshold is the size of a directory's link names and CIDs above
	// which it is sharded.
	shardThreshold = 256 << 10
	// shardWidth is the fan-out of a sharded directory.
	shardWidth = 256
)

var dagPB = cid.Prefix{Version: 1, Codec: cid.DagProtobuf, MhType: mh.SHA2_256, MhLength: -1}

// A leaf is one raw block of a file.
type leaf struct {
	sum  [sha256.Size]byte
	size int64
	blob BlobID
}

// rawCID returns the CIDv1 of a raw block with the given SHA-256.
func rawCID(sum [sha256.Size]byte) (cid.Cid, error) {
	h, err := mh.Encode(sum[:], mh.SHA2_256)
	if err != nil {
		return cid.Undef, fmt.Errorf("encode hash: %w", err)
	}
	return cid.NewCidV1(cid.Raw, h), nil
}

// A link is a node of a file's DAG as its parent sees it.
type link struct {
	cid   cid.Cid
	size  uint64 // bytes of the file below it
	tsize uint64 // bytes of the DAG below it
}

// A fileBuilder derives the root of a file from its leaves in order, in memory
// that grows with the height of the DAG. The zero value is ready.
type fileBuilder struct {
	levels [][]link
}

// leaf adds the file's next leaf.
func (b *fileBuilder) leaf(sum [sha256.Size]byte, size int64) error {
	c, err := rawCID(sum)
	if err != nil {
		return err
	}
	return b.add(0, link{cid: c, size: uint64(size), tsize: uint64(size)})
}

// add puts l on a level; a level that is full becomes a node of the next one.
func (b *fileBuilder) add(level int, l link) error {
	if level == len(b.levels) {
		b.levels = append(b.levels, nil)
	}
	if len(b.levels[level]) == fileWidth {
		if err := b.seal(level); err != nil {
			return err
		}
	}
	b.levels[level] = append(b.levels[level], l)
	return nil
}

// seal makes one node of a level's links and adds it to the next level.
func (b *fileBuilder) seal(level int) error {
	node, err := fileNode(b.levels[level])
	if err != nil {
		return err
	}
	b.levels[level] = b.levels[level][:0]
	return b.add(level+1, node)
}

// root returns the file's root. A file of one leaf is that leaf; a file without
// bytes has one leaf, empty.
func (b *fileBuilder) root() (link, error) {
	if len(b.levels) == 0 {
		if err := b.leaf(sha256.Sum256(nil), 0); err != nil {
			return link{}, err
		}
	}
	for level := 0; ; level++ {
		if level == len(b.levels)-1 && len(b.levels[level]) == 1 {
			return b.levels[level][0], nil
		}
		if err := b.seal(level); err != nil {
			return link{}, err
		}
	}
}

// fileNode encodes an inner node of a file.
func fileNode(links []link) (link, error) {
	fs := unixfs.NewFSNode(unixfs.TFile)
	node := new(merkledag.ProtoNode)
	if err := node.SetCidBuilder(dagPB); err != nil {
		return link{}, fmt.Errorf("file node: %w", err)
	}
	var below uint64
	for _, l := range links {
		fs.AddBlockSize(l.size)
		below += l.tsize
		if err := node.AddRawLink("", &ipld.Link{Cid: l.cid, Size: l.tsize}); err != nil {
			return link{}, fmt.Errorf("file node: %w", err)
		}
	}
	data, err := fs.GetBytes()
	if err != nil {
		return link{}, fmt.Errorf("file node: %w", err)
	}
	node.SetData(data)
	raw, err := node.EncodeProtobuf(false)
	if err != nil {
		return link{}, fmt.Errorf("file node: %w", err)
	}
	return link{cid: node.Cid(), size: fs.FileSize(), tsize: below + uint64(len(raw))}, nil
}

// A child is a named link of a directory.
type child struct {
	name string
	dir  bool
	link
}

// directoryNode derives a directory's node from its children, whose names are
// distinct.
func directoryNode(ctx context.Context, children []child) (link, error) {
	var estimate int
	for _, c := range children {
		estimate += len(c.name) + c.cid.ByteLen()
	}
	if estimate > shardThreshold {
		return shardedNode(ctx, children)
	}
	node := unixfs.EmptyDirNode()
	if err := node.SetCidBuilder(dagPB); err != nil {
		return link{}, fmt.Errorf("directory node: %w", err)
	}
	for _, c := range children {
		if err := node.AddRawLink(c.name, &ipld.Link{Cid: c.cid, Size: c.tsize}); err != nil {
			return link{}, fmt.Errorf("directory node: %w", err)
		}
	}
	return linkOf(node)
}

// shardedNode derives the root of a directory that is a HAMT.
func shardedNode(ctx context.Context, children []child) (link, error) {
	shard, err := hamt.NewShard(discard{}, shardWidth)
	if err != nil {
		return link{}, fmt.Errorf("directory shard: %w", err)
	}
	shard.SetCidBuilder(dagPB)
	for _, c := range children {
		if err := shard.SetLink(ctx, c.name, &ipld.Link{Cid: c.cid, Size: c.tsize}); err != nil {
			return link{}, fmt.Errorf("directory shard: %w", err)
		}
	}
	node, err := shard.Node()
	if err != nil {
		return link{}, fmt.Errorf("directory shard: %w", err)
	}
	return linkOf(node)
}

func linkOf(node ipld.Node) (link, error) {
	l, err := ipld.MakeLink(node)
	if err != nil {
		return link{}, fmt.Errorf("directory node: %w", err)
	}
	return link{cid: l.Cid, tsize: l.Size}, nil
}

// discard is the DAG service of a HAMT that is built in memory and only asked
// for its root: it keeps nothing and has nothing.
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
