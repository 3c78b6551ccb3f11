package rescue_test

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/cmd/weft/internal/rescue"
	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/transfer"
)

// open opens the home for what f does.
func open(t *testing.T, home string, f func(n *node.Node)) {
	t.Helper()
	n, err := node.Open(t.Context(), node.Config{Home: home})
	if err != nil {
		t.Fatal(err)
	}
	f(n)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

type entry struct {
	ID int32  `bson:"_id"`
	T  string `bson:"t"`
}

func documents(t *testing.T, home string) (found map[int32]string) {
	t.Helper()
	found = map[int32]string{}
	open(t, home, func(n *node.Node) {
		d, err := n.Database(t.Context(), "d")
		if err != nil {
			t.Fatal(err)
		}
		for doc, err := range db.Of[entry](d.Collection("m")).Find(t.Context(), nil, db.FindOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			found[doc.ID] = doc.T
		}
	})
	return found
}

// With one flipped bit among the records of a database that nobody else has, a repair keeps
// few of its documents; with what was rescued before, all are back.
func TestDocumentsOutliveTheirRecords(t *testing.T) {
	home := t.TempDir()
	const docs = 20_000
	random := rand.NewChaCha8([32]byte{1})
	open(t, home, func(n *node.Node) {
		d, err := n.CreateDatabase(t.Context(), "d")
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < docs; i += 500 {
			var some []any
			for k := range 500 { // what does not repeat itself is not packed away
				text := make([]byte, 75)
				_, _ = random.Read(text)
				some = append(some, bson.D{{Key: "_id", Value: int32(i + k)}, {Key: "t", Value: hex.EncodeToString(text)}})
			}
			if _, err := d.Collection("m").Insert(t.Context(), some...); err != nil {
				t.Fatal(err)
			}
		}
	})
	for range 3 { // until the log of the store is in tables
		open(t, home, func(*node.Node) {})
	}
	want := documents(t, home)
	tables, err := filepath.Glob(filepath.Join(home, "store", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("got %v, %v", tables, err)
	}
	lossy := 0
	for _, table := range tables {
		info, err := os.Stat(table)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() < 8<<10 {
			continue
		}
		for _, part := range []int64{10} {
			copied := filepath.Join(t.TempDir(), "home")
			if err := os.CopyFS(copied, os.DirFS(home)); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.Chmod(copied, 0o700), filepath.WalkDir(copied, func(path string, e os.DirEntry, err error) error {
				if err == nil && !e.IsDir() {
					err = os.Chmod(path, 0o600)
				}
				return err
			})); err != nil {
				t.Fatal(err)
			}
			flip(t, filepath.Join(copied, "store", filepath.Base(table)), info.Size()/part)
			if repaired(t, copied, want) {
				lossy++
			}
		}
	}
	if lossy == 0 {
		t.Error("no repair lost anything: the test tests nothing")
	}
}

func flip(t *testing.T, name string, at int64) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err == nil {
		b[at] ^= 1
		err = os.WriteFile(name, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// repaired repairs a home, puts back what is gone, and reports whether the repair alone had
// lost something that could be read before.
func repaired(t *testing.T, home string, want map[int32]string) (lossy bool) {
	t.Helper()
	var files rescue.Files
	readable := false
	r, err := node.RepairHome(t.Context(), node.RepairOptions{
		Home: home, Wait: time.Millisecond, AsIs: true,
		Rescue: func(ctx context.Context, n *node.Node, names []string) (err error) {
			files, err = rescue.Write(ctx, n, names, filepath.Join(home, "rescued"))
			readable = len(files) == 1 && len(files[0].Unread) == 0
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := files.Keep(r); err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		if _, err := os.Stat(filepath.Join(home, "rescued")); !os.IsNotExist(err) {
			t.Errorf("got %v", err)
		}
		return false
	}
	lossy = len(documents(t, home)) < len(want)
	open(t, home, func(n *node.Node) {
		d, err := n.Database(t.Context(), "d")
		if err != nil {
			t.Fatal(err)
		}
		putBack(t, d, files[0].Path)
	})
	got := documents(t, home)
	if readable && len(got) != len(want) {
		t.Errorf("got %d documents of %d, %d of them rescued", len(got), len(want), files[0].Documents)
	}
	for id, text := range got {
		if want[id] != text {
			t.Errorf("got %q for %d", text, id)
		}
	}
	return lossy && readable
}

func putBack(t *testing.T, d *db.DB, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	in, err := transfer.NewReader(zip, transfer.ReaderOptions{Tagged: true})
	if err != nil {
		t.Fatal(err)
	}
	w := transfer.NewWriter(t.Context(), d, transfer.WriterOptions{Duplicates: transfer.Skip})
	for {
		item, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		switch {
		case err != nil:
		case item.Document == nil && item.Err == nil: // a collection begins
			err = w.Use(item.Collection, item.Definition)
		default:
			err = w.Write(item)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if rep, err := w.Close(); err != nil || rep.Failed > 0 {
		t.Fatalf("got %v, %v", rep, err)
	}
}
