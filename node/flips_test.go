package node_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
)

// A homeOf is a home that was closed, and what was in it.
type homeOf struct {
	dir  string
	hash map[string]string
}

// makeHome makes a home of three databases and closes it.
func makeHome(t *testing.T, engine string, documents int) homeOf {
	t.Helper()
	h := homeOf{filepath.Join(t.TempDir(), "home"), map[string]string{}}
	n := open(t, node.Config{Home: h.dir, Engine: engine})
	for _, name := range []string{"one", "two", "three"} {
		d, err := n.CreateDatabase(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		things := d.Collection("things")
		r := rand.New(rand.NewPCG(1, 2))
		for i := 0; i < documents; i += 100 {
			var docs []bson.Raw
			for k := range 100 {
				b := make([]byte, 200)
				for j := range b {
					b[j] = byte(r.Uint32())
				}
				docs = append(docs, document(bson.D{{Key: "_id", Value: i + k}, {Key: "b", Value: b}}))
			}
			if _, _, err := things.InsertMany(t.Context(), docs, db.InsertOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		h.hash[name] = hashOf(t, n, name)
	}
	if err := errors.Join(node.CompactStore(t.Context(), n), n.Close()); err != nil {
		t.Fatal(err)
	}
	return h
}

// clone copies the home, so that it can be damaged.
func (h homeOf) clone(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "home")
	if err := os.CopyFS(dir, os.DirFS(h.dir)); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"api.token", "identity.key", "device.key", "databases.note"} {
		if err := os.Chmod(filepath.Join(dir, f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// honest opens the home and wants every database to be as it was, or to say that it
// is damaged; it returns how many are damaged.
func (h homeOf) honest(t *testing.T, dir string) (damaged int) {
	t.Helper()
	n, err := node.Open(t.Context(), node.Config{Home: dir})
	if err != nil {
		if !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "weft doctor") {
			t.Errorf("opening: got %v, want an error of kind corrupt that names a file and weft doctor", err)
		}
		return len(h.hash)
	}
	for name, want := range h.hash {
		err := h.read(t, n, name, want)
		if err == nil {
			continue
		}
		damaged++
		if !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: got %v, want an error of kind corrupt", name, err)
		}
	}
	if err := n.Close(); err != nil && !fault.Is(err, fault.Corrupt) {
		t.Error(err)
	}
	return damaged
}

// read reads every document of a database.
func (h homeOf) read(t *testing.T, n *node.Node, name, want string) error {
	t.Helper()
	i, err := n.DatabaseInfo(t.Context(), name)
	if err != nil {
		return err
	}
	d, err := n.Database(t.Context(), name)
	if err != nil {
		return err
	}
	got, err := d.Verify(t.Context())
	if err == nil && (got.String() != want || i.Hash.String() != want) {
		t.Errorf("%s has hash %s (%s) and says nothing, want %s", name, got, i.Hash, want)
	}
	return err
}

// One bit that is flipped anywhere in a file of the store is harmless, or said of the
// databases that it touches; a check finds it, and a repair brings back what the log
// still has and says what is lost.
func TestBitFlips(t *testing.T) { bitFlips(t, 2) }

func bitFlips(t *testing.T, rounds int) {
	t.Helper()
	for _, engine := range node.Engines() {
		t.Run(engine, func(t *testing.T) {
			h := makeHome(t, engine, 600)
			r := rand.New(rand.NewPCG(7, 7))
			partly := 0
			for round := range rounds {
				dir := h.clone(t)
				file, at := flip(t, dir, r, "ENGINE")
				damaged := h.honest(t, dir)
				if damaged > 0 && damaged < len(h.hash) {
					partly++
				}
				got, err := node.RepairHome(t.Context(), node.RepairOptions{Home: dir})
				if err != nil {
					t.Fatalf("round %d, %s at %d: %v", round, file, at, err)
				}
				if damaged > 0 && got.Found.Findings() == 0 {
					t.Errorf("round %d, %s at %d: %d databases are damaged and the check found nothing", round, file, at, damaged)
				}
				lost := map[string]bool{}
				for _, d := range got.Databases {
					lost[d.Name] = len(d.Lost) > 0
				}
				n := open(t, node.Config{Home: dir})
				for name, want := range h.hash {
					i, err := n.DatabaseInfo(t.Context(), name)
					if err != nil || i.Hash.String() != want && !lost[name] {
						t.Errorf("round %d, %s at %d: %s: got %+v, %v and no word of loss: %+v", round, file, at, name, i, err, got)
					}
				}
				if d, err := n.Check(t.Context(), node.CheckOptions{}); err != nil || !d.Whole() {
					t.Errorf("round %d, %s at %d: after the repair: %+v, %v", round, file, at, d, err)
				}
				if err := n.Close(); err != nil {
					t.Error(err)
				}
			}
			t.Logf("%s: in %d of %d rounds some databases were damaged and some were served", engine, partly, rounds)
		})
	}
}

// flip flips one bit of a file of the home's store, but for those named.
func flip(t *testing.T, dir string, r *rand.Rand, not ...string) (file string, at int64) {
	t.Helper()
	var files []string
	var sizes []int64
	total := int64(0)
	entries, err := os.ReadDir(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if e.IsDir() || strings.Contains(strings.Join(not, " "), e.Name()) || info.Size() == 0 || e.Name() == "RESERVE" {
			continue
		}
		files, sizes = append(files, filepath.Join(dir, "store", e.Name())), append(sizes, info.Size())
		total += info.Size()
	}
	pick := r.Int64N(total)
	i := 0
	for pick >= sizes[i] {
		pick -= sizes[i]
		i++
	}
	f, err := os.OpenFile(files[i], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	_, err = f.ReadAt(b[:], pick)
	b[0] ^= 1 << r.IntN(8)
	if err == nil {
		_, err = f.WriteAt(b[:], pick)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return filepath.Base(files[i]), pick
}
