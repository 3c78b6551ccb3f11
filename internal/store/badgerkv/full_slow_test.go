//go:build slow && linux

package badgerkv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/store"
)

// smallDisk mounts a disk of a few MiB.
func smallDisk(t *testing.T, size string) string {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("no disk of its own: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillDisk takes all room but keep bytes.
func fillDisk(t *testing.T, dir string, keep int64) (free func()) {
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	var n int64
	for block := make([]byte, 64<<10); err == nil; {
		var m int
		m, err = f.Write(block)
		n += int64(m)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(max(0, n-keep)), f.Close()); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

// TestSlowFullDisk fills the disk under an engine that nobody warns. Close and an
// opening after a kill end, and what was synced is read on the full disk, and when there
// is room again.
func TestSlowFullDisk(t *testing.T) {
	disk := smallDisk(t, "64m")
	dir := filepath.Join(disk, "store")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	eng, err := Open(dir, Options{Create: true, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.New(eng, store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	acked := 0
	write := func() error {
		tx := s.Begin()
		defer tx.Discard()
		v := make([]byte, 2000)
		for j := range 100 {
			for i := range v {
				v[i] = byte(r.Uint32())
			}
			if err := tx.Put(fmt.Appendf(nil, "%06d/%02d", acked, j), v); err != nil {
				return err
			}
		}
		if err := errors.Join(tx.Commit(), s.Sync()); err != nil {
			return err
		}
		acked++
		return nil
	}
	for acked < 40 { // 8 MB, in the log and in memory
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
	free := fillDisk(t, disk, 512<<10)
	for err = nil; err == nil; err = write() {
	}
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, store.ErrDiskFull) {
		t.Fatalf("a write on a full disk: %v, want no room", err)
	}
	t.Logf("a write on a full disk: %v", err)
	start := time.Now()
	err = s.Close()
	t.Logf("a close on a full disk, after %v: %v", time.Since(start), err)
	if err != nil {
		t.Errorf("a close on a full disk: %v", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("a close on a full disk took %v", took)
	}
	copied := t.TempDir() // what a kill leaves
	copyDir(t, dir, copied)

	free()
	all := func(dir string) {
		t.Helper()
		s, err := openStore(dir)
		if err != nil {
			t.Fatal(err)
		}
		snap := s.Snapshot()
		defer snap.Release()
		for i := range acked {
			if _, err := snap.Get(fmt.Appendf(nil, "%06d/99", i)); err != nil {
				t.Fatalf("transaction %d of %d: %v", i, acked, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	all(dir)

	dir2 := filepath.Join(disk, "killed")
	if err := os.Mkdir(dir2, 0o700); err != nil {
		t.Fatal(err)
	}
	copyDir(t, copied, dir2)
	free = fillDisk(t, disk, 512<<10)
	start = time.Now()
	all(dir2)
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("an opening, reading all and a close on a full disk took %v", took)
	}
	free()
	all(dir2)
}
