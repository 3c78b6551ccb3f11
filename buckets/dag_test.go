package buckets

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	dagpb "github.com/ipld/go-codec-dagpb"
	"github.com/ipld/go-ipld-prime/codec/dagjson"
	"github.com/ipld/go-ipld-prime/datamodel"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"
)

// hashOf reads DAG-JSON back, and returns the CID of the node in its own codec.
func hashOf(t *testing.T, text []byte, codec uint64) cid.Cid {
	t.Helper()
	var proto datamodel.NodePrototype = basicnode.Prototype.Any
	if codec == cid.DagProtobuf {
		proto = dagpb.Type.PBNode
	}
	b := proto.NewBuilder()
	if err := dagjson.Decode(b, bytes.NewReader(text)); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	ls := cidlink.DefaultLinkSystem()
	l, err := ls.ComputeLink(cidlink.LinkPrototype{Prefix: cid.Prefix{Version: 1, Codec: codec, MhType: dagPB.MhType, MhLength: -1}}, b.Build())
	if err != nil {
		t.Fatal(err)
	}
	return l.(cidlink.Link).Cid
}

// Every node of a DAG is found, by its path and by its CID, and what is printed is
// the node: it encodes to the bytes that the CID names.
func TestNode(t *testing.T) {
	ctx := t.Context()
	b := newReplicas(t, 1)[0]
	large := noise(1, (fileWidth+3)*ChunkSize)
	for name, body := range map[string][]byte{"a.txt": []byte("hello world\n"), "dir/large": large, "dir/sub/empty": nil} {
		if _, err := b.PutFile(ctx, name, bytes.NewReader(body)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := b.Root(ctx)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string][]byte{}
	for _, path := range []string{"", "a.txt", "dir", "dir/large", "dir/sub", "dir/sub/empty", "/dir/sub/"} {
		text, at, err := b.Node(ctx, root, path, Budget{})
		if err != nil {
			t.Fatalf("%q: %v", path, err)
		}
		if got := hashOf(t, text, at.Prefix().Codec); got != at {
			t.Errorf("%q: printed node has the CID %s, want %s", path, got, at)
		}
		if again, _, err := b.Node(ctx, at, "", Budget{}); err != nil || !bytes.Equal(again, text) {
			t.Errorf("%q: by its CID: %s, %v", path, again, err)
		}
		seen[path] = text
	}
	if !strings.Contains(string(seen[""]), `"Name":"a.txt"`) || !strings.Contains(string(seen["a.txt"]), `"bytes":"aGVsbG8gd29ybGQK"`) {
		t.Errorf("got %s and %s", seen[""], seen["a.txt"])
	}
	leafCID, err := rawCID(sha256.Sum256(large[ChunkSize : 2*ChunkSize]))
	if err != nil {
		t.Fatal(err)
	}
	nb := dagpb.Type.PBNode.NewBuilder()
	if err := dagjson.Decode(nb, bytes.NewReader(seen["dir/large"])); err != nil {
		t.Fatal(err)
	}
	inner := nb.Build().(dagpb.PBNode).Links.Lookup(0).Hash.Link().(cidlink.Link).Cid
	for _, c := range []cid.Cid{leafCID, inner} {
		text, _, err := b.Node(ctx, c, "", Budget{})
		if err != nil || hashOf(t, text, c.Prefix().Codec) != c {
			t.Errorf("inside a file: %s: %v", c, err)
		}
	}
}

func TestNodeErrors(t *testing.T) {
	ctx := t.Context()
	b := newReplicas(t, 1)[0]
	for name, n := range map[string]int{"a": 3, "d/b": 2*ChunkSize + 1} {
		if _, err := b.PutFile(ctx, name, bytes.NewReader(noise(2, n))); err != nil {
			t.Fatal(err)
		}
	}
	root, err := b.Root(ctx)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rawCID([32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		root   cid.Cid
		path   string
		budget Budget
		want   error
	}{
		"another CID":      {other, "", Budget{}, ErrNotFound},
		"no such name":     {root, "x", Budget{}, ErrNotFound},
		"through a file":   {root, "a/x", Budget{}, ErrPath},
		"through leaves":   {root, "d/b/x", Budget{}, ErrPath},
		"too many nodes":   {root, "d/b", Budget{Nodes: 3}, ErrTooBig},
		"too many bytes":   {root, "", Budget{Bytes: 40}, ErrTooBig},
		"a leaf too large": {root, "a", Budget{Bytes: 130}, ErrTooBig},
	} {
		if text, _, err := b.Node(ctx, x.root, x.path, x.budget); !errors.Is(err, x.want) {
			t.Errorf("%s: got %s, %v, want %v", name, text, err, x.want)
		}
	}
}

// A name in a directory that is sharded is found through its shards.
func TestNodeSharded(t *testing.T) {
	b := newReplicas(t, 1)[0]
	long, files := strings.Repeat("n", 200), map[string]string{}
	for i := range 1200 {
		files[fmt.Sprintf("%s%04d", long, i)] = fmt.Sprint(i)
	}
	root := pushDir(t, b, folder(t, files), PushOptions{}).Root
	text, at, err := b.Node(t.Context(), root, long+"0777", Budget{})
	if err != nil || hashOf(t, text, at.Prefix().Codec) != at || !strings.Contains(string(text), `"bytes":"Nzc3"`) {
		t.Errorf("got %s, %v", text, err)
	}
	if _, _, err := b.Node(t.Context(), root, long+"1200", Budget{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}
