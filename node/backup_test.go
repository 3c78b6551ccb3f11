package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/multiformats/go-multiaddr"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/buckets"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
)

func connect(t *testing.T, a, b *node.Node) {
	t.Helper()
	addr, err := multiaddr.NewMultiaddr(b.Addrs()[0])
	if err == nil {
		err = a.Connect(t.Context(), addr)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, n *node.Node, name string) int64 {
	t.Helper()
	d, err := n.Database(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Collection("things").Count(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A backup is taken while writes go on, and restored. The original goes on, the
// restored home goes on, a third device hears both, and all agree: nobody has
// written two records in one place.
func TestBackupUnderWrites(t *testing.T) {
	ctx := t.Context()
	home := filepath.Join(t.TempDir(), "home")
	a := open(t, node.Config{Home: home})
	atlas, err := a.CreateDatabase(ctx, "atlas")
	if err != nil {
		t.Fatal(err)
	}
	things := atlas.Collection("things")
	bucket, _, err := a.CreateBucket(ctx, "album", "atlas")
	if err != nil {
		t.Fatal(err)
	}
	large := bytes.Repeat([]byte("Weft "), 100_000)
	if _, err := bucket.Push(ctx, fstest.MapFS{"a.txt": {Data: large}}, buckets.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	c := open(t, node.Config{})
	url, err := a.Invite(ctx, "atlas", node.InviteOptions{})
	if err == nil {
		_, err = c.Join(ctx, url, "atlas")
	}
	if err != nil {
		t.Fatal(err)
	}

	// Writers write until the backup is taken, and then a little more.
	var wg sync.WaitGroup
	taken, began := make(chan struct{}), make(chan struct{}, 3)
	for w := range 3 {
		wg.Go(func() {
			for i, after := 0, 0; after < 10; i++ {
				select {
				case <-taken:
					after++
				default:
				}
				if _, err := things.Insert(ctx, document(bson.D{{Key: "_id", Value: fmt.Sprintf("%d/%d", w, i)}})); err != nil {
					t.Error(err)
					return
				}
				if i == 10 {
					began <- struct{}{}
				}
			}
		})
	}
	for range 3 {
		<-began
	}
	var file bytes.Buffer
	m, err := a.Backup(ctx, &file)
	close(taken)
	wg.Wait()
	if err != nil || len(m.Databases) != 1 || m.Store.Count == 0 || m.Sealed {
		t.Fatalf("backup: %+v, %v", m, err)
	}
	connect(t, c, a)
	identical(t, a, "atlas")
	all := count(t, a, "atlas")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}

	other := filepath.Join(t.TempDir(), "restored")
	got, err := node.Restore(ctx, bytes.NewReader(file.Bytes()), node.RestoreOptions{Home: other})
	if err != nil || got.Store != m.Store || got.Files != m.Files {
		t.Fatalf("restore: %+v, %v, want %+v", got, err, m)
	}
	b := open(t, node.Config{Home: other})
	if b.Peer() != a.Peer() || b.Identity() != a.Identity() {
		t.Error("the restored node is another")
	}
	if n := count(t, b, "atlas"); n == 0 { // it may have met the third already
		t.Error("the backup has no documents")
	}
	w := &town{t: t}
	for i := range 5 { // before it hears of what the original wrote
		w.insert(b, "atlas", bson.D{{Key: "_id", Value: fmt.Sprint("restored/", i)}})
	}
	connect(t, c, b)
	identical(t, b, "atlas")
	if n := count(t, b, "atlas"); n != all+5 {
		t.Errorf("the restored home has %d documents, want %d", n, all+5)
	}
	w.insert(b, "atlas", bson.D{{Key: "_id", Value: "more"}})
	identical(t, b, "atlas")
	again, err := b.Bucket(ctx, "album")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := again.Cat(ctx, "a.txt", &out, buckets.Range{Length: -1}); err != nil || !bytes.Equal(out.Bytes(), large) {
		t.Errorf("the file has %d bytes, %v", out.Len(), err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	// The original comes back as well.
	a = open(t, node.Config{Home: home})
	w.insert(a, "atlas", bson.D{{Key: "_id", Value: "original"}})
	connect(t, c, a)
	identical(t, a, "atlas")
	if n := count(t, a, "atlas"); n != all+7 || count(t, c, "atlas") != n {
		t.Errorf("got %d documents, and %d, want %d", n, count(t, c, "atlas"), all+7)
	}
	for _, n := range []*node.Node{a, c} {
		if forks, err := node.Forks(n, "atlas"); err != nil || forks > 0 {
			t.Errorf("%d forks, %v", forks, err)
		}
	}
}

// A backup that is damaged anywhere, or cut short anywhere, is refused by name
// and leaves nothing behind.
func TestBadBackup(t *testing.T) {
	ctx := context.Background()
	n := open(t, node.Config{})
	w := &town{t: t}
	if _, err := n.CreateDatabase(ctx, "atlas"); err != nil {
		t.Fatal(err)
	}
	w.insert(n, "atlas", bson.D{{Key: "_id", Value: 1}})
	var file bytes.Buffer
	if _, err := n.Backup(ctx, &file); err != nil {
		t.Fatal(err)
	}
	whole := file.Bytes()
	restore := func(what string, b []byte) {
		t.Helper()
		dir := t.TempDir()
		_, err := node.Restore(ctx, bytes.NewReader(b), node.RestoreOptions{Home: filepath.Join(dir, "home")})
		if !errors.Is(err, node.ErrBackup) {
			t.Errorf("%s: got %v", what, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: it left %v, %v", what, left, err)
		}
	}
	for i := 1; i < 12; i++ {
		restore("cut", whole[:len(whole)*i/12])
		damaged := bytes.Clone(whole)
		damaged[len(whole)*i/12] ^= 0x40
		restore("damaged", damaged)
	}
	restore("cut by one", whole[:len(whole)-1])
	restore("longer", append(bytes.Clone(whole), 'x'))
	restore("empty", nil)
	restore("newer", append([]byte("weft backup 6 badger\n"), whole[len("weft backup 5 badger\n"):]...))
	restore("older", append([]byte("weft backup 3 badger\n"), whole[len("weft backup 4 badger\n"):]...))

	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Restore(ctx, bytes.NewReader(whole), node.RestoreOptions{Home: full}); !errors.Is(err, node.ErrExists) {
		t.Errorf("into a folder with files: got %v", err)
	}
}

// A backup of a home that lacks the file of a blob is none; it is made again once the file
// is back.
func TestBackupOfMissingFile(t *testing.T) {
	ctx := t.Context()
	n := open(t, node.Config{})
	if _, err := n.CreateDatabase(ctx, "atlas"); err != nil {
		t.Fatal(err)
	}
	newShelf(t, n, "album", "atlas").put("r.bin", content(7, 300_000))
	files, err := filepath.Glob(filepath.Join(n.Home(), "blobs", "*", "*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	aside := filepath.Join(t.TempDir(), "aside")
	if err := os.Rename(files[0], aside); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Backup(ctx, io.Discard); !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), filepath.Base(files[0])) {
		t.Errorf("got %v, want an error of kind corrupt that names the blob", err)
	}
	if err := os.Rename(aside, files[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Backup(ctx, io.Discard); err != nil {
		t.Error(err)
	}
}
