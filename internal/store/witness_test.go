package store

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// fullDisk mounts a disk of 1 MB, and returns how to fill it to the last byte and how to
// make room. It skips the test where that is not permitted.
func fullDisk(t *testing.T) (dir string, fill, free func()) {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("a small disk needs the right to mount one")
	}
	dir = t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("a small disk cannot be mounted: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	filler := filepath.Join(dir, "filler")
	fill = func() {
		if err := os.WriteFile(filler, make([]byte, 2<<20), 0o600); err == nil {
			t.Fatal("the disk is not full")
		}
	}
	free = func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}
	return dir, fill, free
}

// A witness on a full disk says what it said, takes notes in place, and goes on from
// either of its slots.
func TestWitnessOnFullDisk(t *testing.T) {
	dir, fill, free := fullDisk(t)
	opened := func(position uint64) *witness {
		t.Helper()
		w, err := openWitness(dir, position, false)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	says := func(want uint64) {
		t.Helper()
		if got, err := Witnessed(dir); got != want || err != nil {
			t.Errorf("the witness says %d, %v, want %d", got, err, want)
		}
	}
	done := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	w := opened(100)
	done(w.note(101), w.close())
	fill()
	if _, err := openWitness(dir, 100, false); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a store that lost its end, on a full disk: got %v, want corrupt", err)
	}
	if _, err := openWitness(dir, 100, true); !errors.Is(err, ErrDiskFull) {
		t.Errorf("a repair on a full disk: got %v, want disk_full", err)
	}
	w = opened(120)
	done(w.close())
	says(101) // what came after may not be durable
	for range 2 {
		w = opened(120)
		from := w.position + 1
		for position := from; position < from+3; position++ {
			done(w.note(position))
			says(position)
		}
		done(w.close())
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*.tmp")); len(names) > 0 || err != nil {
		t.Errorf("left: %v, %v", names, err)
	}
	// One slot that is damaged is written over first.
	last, err := Witnessed(dir)
	done(err)
	name := filepath.Join(dir, witnessFile)
	b, err := os.ReadFile(name)
	done(err)
	_, writes, err := readWitness(name)
	done(err)
	b[(writes%2)*slotSize] ^= 1
	done(os.WriteFile(name, b, 0o600))
	w = opened(last)
	done(w.note(last+1), w.close())
	says(last + 1)
	b, err = os.ReadFile(name)
	done(err)
	b[((writes+1)%2)*slotSize] ^= 1
	done(os.WriteFile(name, b, 0o600))
	says(last + 1)
	// A store of an older release has none, and gets it when there is room.
	done(os.Remove(name))
	fill()
	w = opened(200)
	says(0)
	if err := w.note(201); !errors.Is(err, ErrDiskFull) {
		t.Errorf("a note without room: got %v, want disk_full", err)
	}
	free()
	done(w.note(201), w.close())
	says(201)
}
