package buckets

import (
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-unixfsnode/data"
	"github.com/ipfs/go-unixfsnode/data/builder"
	dagpb "github.com/ipld/go-codec-dagpb"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/fluent/qp"
	"github.com/ipld/go-ipld-prime/linking"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
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

var dagPB = cidlink.LinkPrototype{Prefix: cid.Prefix{Version: 1, Codec: cid.DagProtobuf, MhType: mh.SHA2_256, MhLength: -1}}

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

// A dag derives nodes: it encodes them in the dag-pb codec and hashes them. It is
// of one goroutine.
type dag struct {
	ls   linking.LinkSystem
	size uint64 // of the node that was stored last
	keep func(cid.Cid, []byte)
}

// newDAG returns a dag that calls keep with each node it derives, if not nil; what
// counts else is the links.
func newDAG(keep func(cid.Cid, []byte)) *dag {
	d := &dag{ls: cidlink.DefaultLinkSystem(), keep: keep}
	d.ls.StorageWriteOpener = func(linking.LinkContext) (io.Writer, linking.BlockWriteCommitter, error) {
		n := &derivedNode{d: d}
		return n, n.commit, nil
	}
	return d
}

// A derivedNode takes the encoding of one node.
type derivedNode struct {
	d    *dag
	size uint64
	raw  []byte // if it is kept
}

func (n *derivedNode) Write(p []byte) (int, error) {
	n.size += uint64(len(p))
	if n.d.keep != nil {
		n.raw = append(n.raw, p...)
	}
	return len(p), nil
}

func (n *derivedNode) commit(l datamodel.Link) error {
	n.d.size = n.size
	if n.d.keep != nil {
		n.d.keep(l.(cidlink.Link).Cid, n.raw)
	}
	return nil
}

// A fileBuilder derives the root of a file from its leaves in order, in memory
// that grows with the height of the DAG. The zero value is ready.
type fileBuilder struct {
	dag    *dag // nil: one that keeps nothing
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
	if b.dag == nil {
		b.dag = newDAG(nil)
	}
	node, err := b.dag.fileNode(b.levels[level])
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

// fileNode derives an inner node of a file.
func (d *dag) fileNode(links []link) (link, error) {
	var size uint64
	sizes := make([]uint64, len(links))
	for i, l := range links {
		sizes[i] = l.size
		size += l.size
	}
	about, err := builder.BuildUnixFS(func(b *builder.Builder) {
		builder.DataType(b, data.Data_File)
		builder.FileSize(b, size)
		builder.BlockSizes(b, sizes)
	})
	if err != nil {
		return link{}, fmt.Errorf("file node: %w", err)
	}
	node, err := d.store(about, len(links), func(i int) (string, link) { return "", links[i] })
	node.size = size
	return node, err
}

// A child is a named link of a directory.
type child struct {
	name string
	dir  bool
	link
}

// directoryNode derives a directory's node from its children, whose names are
// distinct; above shardThreshold it is the root of a HAMT.
func (d *dag) directoryNode(children []child) (link, error) {
	var estimate int
	for _, c := range children {
		estimate += len(c.name) + c.cid.ByteLen()
	}
	if estimate > shardThreshold {
		return d.shardedNode(children)
	}
	about, err := builder.BuildUnixFS(func(b *builder.Builder) { builder.DataType(b, data.Data_Directory) })
	if err != nil {
		return link{}, fmt.Errorf("directory node: %w", err)
	}
	return d.store(about, len(children), func(i int) (string, link) { return children[i].name, children[i].link })
}

// shardedNode derives the nodes of a directory that is a HAMT.
func (d *dag) shardedNode(children []child) (link, error) {
	entries := make([]dagpb.PBLink, len(children))
	for i, c := range children {
		e, err := builder.BuildUnixFSDirectoryEntry(c.name, int64(c.tsize), cidlink.Link{Cid: c.cid})
		if err != nil {
			return link{}, fmt.Errorf("directory shard: %w", err)
		}
		entries[i] = e
	}
	root, tsize, err := builder.BuildUnixFSShardedDirectory(shardWidth, mh.MURMUR3X64_64, entries, &d.ls)
	if err != nil {
		return link{}, fmt.Errorf("directory shard: %w", err)
	}
	return link{cid: root.(cidlink.Link).Cid, tsize: tsize}, nil
}

// store encodes a node of n links, which the codec sorts by name.
func (d *dag) store(about data.UnixFSData, n int, at func(int) (name string, l link)) (link, error) {
	var below uint64
	node, err := qp.BuildMap(dagpb.Type.PBNode, 2, func(m datamodel.MapAssembler) {
		qp.MapEntry(m, "Data", qp.Bytes(data.EncodeUnixFSData(about)))
		qp.MapEntry(m, "Links", qp.List(int64(n), func(list datamodel.ListAssembler) {
			for i := range n {
				name, l := at(i)
				below += l.tsize
				qp.ListEntry(list, qp.Map(3, func(m datamodel.MapAssembler) {
					qp.MapEntry(m, "Hash", qp.Link(cidlink.Link{Cid: l.cid}))
					qp.MapEntry(m, "Name", qp.String(name))
					qp.MapEntry(m, "Tsize", qp.Int(int64(l.tsize)))
				}))
			}
		}))
	})
	if err != nil {
		return link{}, fmt.Errorf("DAG node: %w", err)
	}
	stored, err := d.ls.Store(linking.LinkContext{}, dagPB, node)
	if err != nil {
		return link{}, fmt.Errorf("DAG node: %w", err)
	}
	return link{cid: stored.(cidlink.Link).Cid, tsize: below + d.size}, nil
}
