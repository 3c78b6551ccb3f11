package node_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
)

// smallDisk mounts a disk of 96 MB. It skips the test where that is not permitted.
func smallDisk(t *testing.T) (dir string) {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("a small disk needs the right to mount one")
	}
	dir = t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("a small disk cannot be mounted: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// fillUp writes a file until the disk is full to the last byte.
func fillUp(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, 1<<20)
	for size := len(p); size > 0; {
		if n, err := f.Write(p[:size]); err != nil && n < size {
			size /= 2
		}
	}
}

// A database is removed from a full disk, from the reserve; without one it is removed or
// still there, as the answer says. What is left of it goes when there is room, and until
// then the home opens, as that of a daemon too, and the name is gone.
func TestRemoveOnFullDisk(t *testing.T) {
	api := []node.Surface{{Name: node.SurfaceAPI, Addr: "127.0.0.1:0", Handler: func(*node.Node) http.Handler { return http.NotFoundHandler() }}}
	for _, engine := range []string{"badger", "pebble"} {
		for _, reserve := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/reserve %v", engine, reserve), func(t *testing.T) {
				disk := smallDisk(t)
				home := filepath.Join(disk, "home")
				n := open(t, node.Config{Home: home, Engine: engine})
				for _, name := range []string{"big", "keep"} {
					d, err := n.CreateDatabase(t.Context(), name)
					if err != nil {
						t.Fatal(err)
					}
					for i := range 40 {
						var docs []bson.Raw
						for j := range 100 {
							docs = append(docs, document(bson.D{{Key: "_id", Value: 100*i + j}, {Key: "v", Value: fmt.Sprintf("%0500d", j)}}))
						}
						if _, err := d.Collection("c").Insert(t.Context(), docs); err != nil {
							t.Fatal(err)
						}
					}
				}
				fillUp(t, filepath.Join(disk, "filler1"))
				if !reserve {
					if err := os.Remove(filepath.Join(home, "store", "RESERVE")); err != nil {
						t.Fatal(err)
					}
					fillUp(t, filepath.Join(disk, "filler2"))
				}
				left := []string{"keep"}
				if err := n.RemoveDatabase(t.Context(), "big"); !reserve && fault.Is(err, fault.DiskFull) {
					left = []string{"big", "keep"}
				} else if err != nil {
					t.Fatal(err)
				}
				for range 2 {
					var names []string
					for _, d := range n.Databases() {
						names = append(names, d.Name)
					}
					if fmt.Sprint(names) != fmt.Sprint(left) {
						t.Fatalf("got databases %v, want %v", names, left)
					}
					if info, err := n.DatabaseInfo(t.Context(), "keep"); err != nil || info.Documents != 4000 {
						t.Fatalf("the other database: %d documents, %v", info.Documents, err)
					}
					fillUp(t, filepath.Join(disk, "filler3"))
					if err := n.Close(); err != nil && !fault.Is(err, fault.DiskFull) {
						t.Fatal(err)
					}
					if _, err := node.ReadDaemon(home); !errors.Is(err, os.ErrNotExist) {
						t.Fatalf("a daemon of a closed home: %v", err)
					}
					n = open(t, node.Config{Home: home, Surfaces: api})
					if d, err := node.ReadDaemon(home); err != nil || d.API != n.SurfaceAddr(node.SurfaceAPI) {
						t.Fatalf("a daemon on a full disk: %+v, %v", d, err)
					}
				}
				for _, name := range []string{"filler1", "filler2", "filler3"} {
					if err := os.Remove(filepath.Join(disk, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
						t.Fatal(err)
					}
				}
				end := time.Now().Add(15 * time.Second)
				for node.Removals(t, n) > 0 {
					if time.Now().After(end) {
						t.Fatalf("%d removals are not complete 15 s after there is room", node.Removals(t, n))
					}
					time.Sleep(20 * time.Millisecond) // the disk has no event to wait for
				}
			})
		}
	}
}
