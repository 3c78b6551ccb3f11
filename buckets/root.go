package buckets

import (
	"context"
	"sort"
	"strings"
	"sync"

	"github.com/ipfs/go-cid"
)

func newBucket(name string, e entries, blobs Blobs) *Bucket {
	return &Bucket{name: name, entries: e, blobs: blobs, cache: new(rootCache)}
}

// rootCache keeps the last derived DAG, by the state that it was derived from.
type rootCache struct {
	mu     sync.Mutex // guards all below
	state  [32]byte
	known  bool
	view   Overview
	hidden map[string]bool
}

// Root returns the root CID of the bucket's DAG, as of now.
func (b *Bucket) Root(ctx context.Context) (cid.Cid, error) {
	o, err := b.Overview(ctx)
	return o.Root, err
}

// Overview derives the bucket's DAG from its entries and says what it holds.
// While nothing changes it returns what it derived before.
func (b *Bucket) Overview(ctx context.Context) (Overview, error) {
	o, _, err := b.derive(ctx)
	return o, err
}

// derive returns the overview and the files that a directory of the same path
// hides.
func (b *Bucket) derive(ctx context.Context) (Overview, map[string]bool, error) {
	before := b.entries.state()
	b.cache.mu.Lock()
	if b.cache.known && b.cache.state == before {
		defer b.cache.mu.Unlock()
		return b.cache.view, b.cache.hidden, nil
	}
	b.cache.mu.Unlock()
	t := newTree(nil)
	done, err := b.entries.scan(ctx, "", "", 0, func(e entry) error { return t.add(e) })
	if err != nil {
		return Overview{}, nil, err
	}
	root, err := t.root()
	if err != nil {
		return Overview{}, nil, err
	}
	o := Overview{Root: root.cid, Files: t.files, Bytes: t.bytes, Conflicts: append(t.notes, done.bad...)}
	if after := b.entries.state(); after == before {
		b.cache.mu.Lock()
		b.cache.state, b.cache.known, b.cache.view, b.cache.hidden = before, true, o, t.hidden
		b.cache.mu.Unlock()
	}
	return o, t.hidden, nil
}

// A tree derives directories from entries in byte order of their paths, holding
// only the directories that are open.
type tree struct {
	dag    *dag
	stack  []directory // the root first
	files  int
	bytes  int64
	notes  []Note
	hidden map[string]bool // files whose path is also a directory's
}

// newTree returns a tree that calls keep with each node it derives, if not nil.
func newTree(keep func(cid.Cid, []byte)) *tree {
	return &tree{dag: newDAG(keep), stack: []directory{{}}, hidden: map[string]bool{}}
}

type directory struct {
	name     string
	children []child // sorted by key
}

// key is what sorts a child among its siblings in the order of paths.
func (c child) key() string {
	if c.dir {
		return c.name + "/"
	}
	return c.name
}

func (t *tree) add(e entry) error {
	segments := strings.Split(e.path, "/")
	dirs, name := segments[:len(segments)-1], segments[len(segments)-1]
	common := 0
	for common < len(dirs) && common+1 < len(t.stack) && t.stack[common+1].name == dirs[common] {
		common++
	}
	for len(t.stack) > common+1 {
		if err := t.close(); err != nil {
			return err
		}
	}
	for i := common; i < len(dirs); i++ {
		t.hide(strings.Join(dirs[:i+1], "/"), dirs[i])
		t.stack = append(t.stack, directory{name: dirs[i]})
	}
	if name == "" { // the mark of an empty directory
		return nil
	}
	v := e.version()
	top := &t.stack[len(t.stack)-1]
	top.children = append(top.children, child{name: name, link: link{cid: v.cid, size: uint64(v.size), tsize: v.tsize}})
	t.files++
	t.bytes += v.size
	if len(e.order) > 1 {
		for _, c := range e.public().Conflicts {
			t.notes = append(t.notes, Note{Path: e.path, Reason: "another version was written apart: " + c.CID.String()})
		}
	}
	return nil
}

// hide takes the file of a directory's name out of the directory above it: the
// directory stays.
func (t *tree) hide(path, name string) {
	top := &t.stack[len(t.stack)-1]
	i := sort.Search(len(top.children), func(i int) bool { return top.children[i].key() >= name })
	if i == len(top.children) || top.children[i].key() != name {
		return
	}
	t.files--
	t.bytes -= int64(top.children[i].size)
	top.children = append(top.children[:i], top.children[i+1:]...)
	t.hidden[path] = true
	t.notes = append(t.notes, Note{Path: path, Reason: "hidden by a directory of the same path"})
}

// close derives the innermost open directory and links it from the one above.
func (t *tree) close() error {
	d := t.stack[len(t.stack)-1]
	t.stack = t.stack[:len(t.stack)-1]
	node, err := t.dag.directoryNode(d.children)
	if err != nil {
		return err
	}
	top := &t.stack[len(t.stack)-1]
	top.children = append(top.children, child{name: d.name, dir: true, link: node})
	return nil
}

// root closes every directory and returns the root's node.
func (t *tree) root() (link, error) {
	for len(t.stack) > 1 {
		if err := t.close(); err != nil {
			return link{}, err
		}
	}
	return t.dag.directoryNode(t.stack[0].children)
}
