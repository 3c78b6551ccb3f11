package node_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/node"
)

// A home that an earlier build of the same format version wrote opens, to the same
// state hash and bucket root, and takes writes. The home holds a collection with a
// rule, a unique attempt that failed, a text index, updates, deletions and a bucket.
func TestHomeOfVersion5(t *testing.T) {
	const (
		hash = "78fb6679569eac16b9823de745732bd0adc1f7f2613b20f3d61b6b0923c3bdce"
		root = "bafybeidg7l6zl34exmk4obbankmo73qnsbh2ajas6mv4uef5jqbryjjgwa"
	)
	ctx := t.Context()
	home := t.TempDir()
	unpack(t, "../testdata/homes/v5.tar.gz", home)
	n, err := node.Open(ctx, node.Config{Home: home})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	info, err := n.DatabaseInfo(ctx, "atlas")
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Hash.String(); got != hash || info.Documents != 54 || info.Records != 10 {
		t.Fatalf("got hash %s, %d documents, %d records, want %s, 54, 10", got, info.Documents, info.Records, hash)
	}
	b, err := n.Bucket(ctx, "album")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Root(ctx); err != nil || got.String() != root {
		t.Fatalf("got root %v, %v, want %s", got, err, root)
	}
	atlas, err := n.Database(ctx, "atlas")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := atlas.Verify(ctx); err != nil {
		t.Fatal(err)
	}
	xs, err := atlas.Collection("cities").Indexes(ctx)
	if err != nil || len(xs) != 2 || xs[0].Name != "country_1" || xs[1].Name != "name_text" {
		t.Fatalf("got indexes %v, %v", xs, err)
	}
	_, err = atlas.Collection("cities").Insert(ctx, document(bson.D{{Key: "population", Value: -1}}))
	if !errors.Is(err, db.ErrRule) {
		t.Fatalf("got %v, want a denial by the rule of the home", err)
	}
	if _, err := atlas.Collection("cities").Insert(ctx, document(bson.D{{Key: "population", Value: 1}})); err != nil {
		t.Fatal(err)
	}
}

func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(at, 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		b, err := io.ReadAll(r)
		if err == nil {
			err = os.WriteFile(at, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
