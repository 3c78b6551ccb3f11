package buckets

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-unixfsnode"
	dagpb "github.com/ipld/go-codec-dagpb"
	"github.com/ipld/go-ipld-prime/codec/dagjson"
	_ "github.com/ipld/go-ipld-prime/codec/raw" // registers the codec of leaves
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/linking"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/ipld/go-ipld-prime/schema"

	"github.com/weftdb/weft/internal/fault"
)

// A Budget bounds what finding one node of a DAG may look at. Nodes of directories
// are derived, those of files found by their manifests, so that a node may need
// others.
type Budget struct {
	Nodes int   // 0 means 100,000
	Bytes int64 // of the nodes; 0 means 64 MiB
}

// Node returns a node of the bucket's DAG as DAG-JSON, and its CID: the one below
// root at a path of names, or root itself for the path "". root is any CID of the
// DAG as it is now, or of a version of a file. It returns ErrNotFound, ErrPath for
// a path through a file, and ErrTooBig when the budget does not do; the CID is then
// where the walk ended, cid.Undef if it did not reach root.
func (b *Bucket) Node(ctx context.Context, root cid.Cid, path string, budget Budget) ([]byte, cid.Cid, error) {
	defer b.blobs.Hold()()
	d := newNodes(b, budget)
	node, at, err := d.find(ctx, root, path)
	if err != nil {
		return nil, at, err
	}
	var out bytes.Buffer
	if err := dagjson.Encode(node, &out); err != nil {
		return nil, at, fmt.Errorf("encode %s as DAG-JSON: %w", at, err)
	}
	return out.Bytes(), at, nil
}

// nodes is a bucket's DAG for one question: a link system that reads what is
// derived when the question begins or when a file is come to.
type nodes struct {
	b       *Bucket
	budget  Budget
	ls      linking.LinkSystem
	derived map[cid.Cid][]byte
	leaves  map[cid.Cid]leaf
	files   map[cid.Cid]version // larger than a leaf, not expanded yet
	queue   []cid.Cid           // of files, in the order of their paths
	over    error               // why the budget does not do
}

func newNodes(b *Bucket, budget Budget) *nodes {
	if budget.Nodes <= 0 {
		budget.Nodes = 100_000
	}
	if budget.Bytes <= 0 {
		budget.Bytes = 64 << 20
	}
	d := &nodes{
		b: b, budget: budget, ls: cidlink.DefaultLinkSystem(),
		derived: map[cid.Cid][]byte{}, leaves: map[cid.Cid]leaf{}, files: map[cid.Cid]version{},
	}
	d.ls.StorageReadOpener = func(lc linking.LinkContext, l datamodel.Link) (io.Reader, error) {
		raw, err := d.read(lc.Ctx, l.(cidlink.Link).Cid)
		return bytes.NewReader(raw), err
	}
	return d
}

// spend takes n nodes of size bytes from the budget.
func (d *nodes) spend(n int, size int64) error {
	d.budget.Nodes -= n
	d.budget.Bytes -= size
	if d.over == nil && (d.budget.Nodes < 0 || d.budget.Bytes < 0) {
		d.over = fault.Of(ErrTooBig, "the budget of nodes and bytes does not suffice to find the node: allow more of both, or begin at a CID further down")
	}
	return d.over
}

func (d *nodes) keep(c cid.Cid, raw []byte) {
	if d.spend(1, int64(len(raw))) == nil {
		d.derived[c] = raw
	}
}

// derive fills the directories, and notes the files.
func (d *nodes) derive(ctx context.Context) error {
	t := newTree(d.keep)
	_, err := d.b.entries.scan(ctx, "", "", 0, func(e entry) error {
		if e.isDir() {
			return errors.Join(t.add(e), d.over)
		}
		for _, v := range e.versions {
			if err := d.note(v); err != nil {
				return err
			}
		}
		return errors.Join(t.add(e), d.over)
	})
	if err != nil {
		return err
	}
	if _, err := t.root(); err != nil {
		return err
	}
	return d.over
}

// note keeps how the root of a version of a file is found.
func (d *nodes) note(v version) error {
	if err := d.spend(1, 0); err != nil {
		return err
	}
	switch {
	case v.blob != nil:
		d.leaves[v.cid] = leaf{size: v.size, blob: *v.blob, sum: [sha256.Size]byte(v.cid.Hash()[2:])}
	case len(v.manifests) == 0:
		d.derived[v.cid] = nil // a file without bytes is one empty leaf
	default:
		if _, ok := d.files[v.cid]; !ok {
			d.queue = append(d.queue, v.cid)
		}
		d.files[v.cid] = v
	}
	return nil
}

// expand derives the inner nodes of a file and finds its leaves.
func (d *nodes) expand(ctx context.Context, v version) error {
	delete(d.files, v.cid)
	f := &fileReader{blobs: d.b.blobs, version: v, loaded: -1, dag: newDAG(d.keep)}
	f.each = func(l leaf) error {
		c, err := rawCID(l.sum)
		if err != nil {
			return err
		}
		d.leaves[c] = l
		return d.spend(1, 0)
	}
	if err := f.check(ctx); err != nil {
		return err
	}
	return d.over
}

// read returns the bytes of a node. Those of a leaf and of an inner node of a file
// may be found only after the files were expanded, one after the other.
func (d *nodes) read(ctx context.Context, c cid.Cid) ([]byte, error) {
	for {
		if raw, ok := d.derived[c]; ok {
			return raw, nil
		}
		if l, ok := d.leaves[c]; ok {
			if err := d.spend(0, l.size); err != nil {
				return nil, err
			}
			return d.b.fetchLeaf(ctx, l)
		}
		v, ok := d.files[c]
		for !ok && len(d.queue) > 0 {
			v, ok = d.files[d.queue[0]]
			d.queue = d.queue[1:]
		}
		if !ok {
			return nil, fault.Of(ErrNotFound, "the bucket has no node %s", c)
		}
		if err := d.expand(ctx, v); err != nil {
			return nil, err
		}
	}
}

// find walks from root along the names of path.
func (d *nodes) find(ctx context.Context, root cid.Cid, path string) (node datamodel.Node, at cid.Cid, err error) {
	if err := d.derive(ctx); err != nil {
		return nil, cid.Undef, err
	}
	if node, err = d.load(ctx, root); err != nil {
		return nil, cid.Undef, err
	}
	at = root
	for path = strings.Trim(path, "/"); path != ""; {
		var name string
		name, path, _ = strings.Cut(path, "/")
		next, err := d.child(ctx, node, at, name)
		if err != nil {
			return nil, at, err
		}
		if node, err = d.load(ctx, next); err != nil {
			return nil, at, err
		}
		at = next
	}
	return node, at, nil
}

func (d *nodes) load(ctx context.Context, c cid.Cid) (datamodel.Node, error) {
	var proto datamodel.NodePrototype = basicnode.Prototype.Any
	if c.Prefix().Codec == cid.DagProtobuf {
		proto = dagpb.Type.PBNode
	}
	return d.ls.Load(linking.LinkContext{Ctx: ctx}, cidlink.Link{Cid: c}, proto)
}

// child returns the link of a name in a directory.
func (d *nodes) child(ctx context.Context, node datamodel.Node, at cid.Cid, name string) (cid.Cid, error) {
	dir, err := unixfsnode.Reify(linking.LinkContext{Ctx: ctx}, node, &d.ls)
	if err != nil {
		return cid.Undef, fault.Of(ErrMalformed, "the node %s: %v", at, err)
	}
	if dir.Kind() != datamodel.Kind_Map {
		return cid.Undef, fault.Of(ErrPath, "%s is a file: it has no %q", at, name)
	}
	found, err := dir.LookupByString(name)
	if d.over != nil {
		return cid.Undef, d.over
	}
	if none := (schema.ErrNoSuchField{}); errors.As(err, &none) || errors.As(err, new(datamodel.ErrNotExists)) {
		return cid.Undef, fault.Of(ErrNotFound, "the directory %s has no %q", at, name)
	}
	if err != nil {
		return cid.Undef, fmt.Errorf("look up %q in %s: %w", name, at, err)
	}
	l, err := found.AsLink()
	if err != nil {
		return cid.Undef, fault.Of(ErrMalformed, "the node %s: %v", at, err)
	}
	return l.(cidlink.Link).Cid, nil
}
