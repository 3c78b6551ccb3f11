package buckets

import (
	"crypto/sha256"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/internal/vectors"
)

// TestVectors holds manifests, the CIDs of files and the updates of entries against
// testdata/vectors/buckets.json.
func TestVectors(t *testing.T) {
	leaves := []leaf{
		{sum: sha256.Sum256(make([]byte, ChunkSize)), size: ChunkSize, blob: BlobID{1}},
		{sum: sha256.Sum256([]byte("end")), size: 3, blob: BlobID{2}},
	}
	values := func(leaves []leaf) (out []any) {
		for _, l := range leaves {
			out = append(out, vectors.Gives{"sum": l.sum, "size": l.size, "blob": l.blob})
		}
		return out
	}
	all := []vectors.Vector{{
		Name: "manifest", Values: values(leaves), Bytes: encodeManifest(leaves),
		Back: func(b []byte) (any, error) {
			l, err := decodeManifest(b)
			return values(l), err
		},
	}}
	many := make([]leaf, 0, fileWidth+2)
	for range fileWidth + 1 {
		many = append(many, leaves[0])
	}
	for _, f := range []struct {
		name   string
		leaves []leaf
	}{{"no bytes", nil}, {"one leaf", leaves[1:]}, {"two leaves", leaves}, {"more leaves than a node has links", append(many, leaves[1])}} {
		b := fileBuilder{}
		sizes, sums := []int64{}, [][32]byte{}
		for _, l := range f.leaves {
			if err := b.leaf(l.sum, l.size); err != nil {
				t.Fatal(err)
			}
			sizes, sums = append(sizes, l.size), append(sums, l.sum)
		}
		root, err := b.root()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, vectors.Vector{Name: "file of " + f.name, Gives: vectors.Gives{
			"sums": sums, "sizes": sizes, "cid": root.cid.String(), "size": root.size, "tsize": root.tsize,
		}})
	}
	c, err := rawCID(leaves[1].sum)
	if err != nil {
		t.Fatal(err)
	}
	v := &version{cid: c, size: 3, tsize: 3, blob: &leaves[1].blob}
	for _, u := range []struct {
		name string
		change
	}{
		{"first", change{path: "a", version: v}},
		{"next", change{path: "a", version: v, replaces: []string{"bafk"}}},
		{"removal", change{path: "a", replaces: []string{"bafk"}}},
	} {
		raw, err := u.update()
		if err != nil {
			t.Fatal(err)
		}
		json, err := bson.MarshalExtJSON(raw, true, false)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, vectors.Vector{Name: "update of an entry, " + u.name, Bytes: raw, Gives: vectors.Gives{"json": string(json)}})
	}
	vectors.Check(t, "buckets", "docs/design/buckets.md", all...)
}
