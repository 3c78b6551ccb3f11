package badgerkv

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/weftdb/weft/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openStore(dir string) (store.Store, error) {
	durable, err := store.Witnessed(dir)
	if err != nil {
		return nil, err
	}
	eng, err := Open(dir, Options{Create: durable == 0, Durable: durable})
	if err != nil {
		return nil, err
	}
	return store.New(eng, store.Options{Dir: dir})
}

// A world is what a store holds.
type world map[string]string

// write commits the changes of n keys, some with long values, some deletions, and
// syncs.
func (w world) write(t testing.TB, s store.Store, r *rand.Rand, n int) {
	t.Helper()
	tx := s.Begin()
	defer tx.Discard()
	for range n {
		k := fmt.Sprintf("key/%04d", r.IntN(4*n))
		v := strings.Repeat(fmt.Sprint(r.Uint64()), 1+r.IntN(8))
		if r.IntN(16) == 0 {
			v = strings.Repeat(v, 1+inline/len(v))
		}
		var err error
		if r.IntN(8) == 0 {
			delete(w, k)
			err = tx.Delete([]byte(k))
		} else {
			w[k] = v
			err = tx.Put([]byte(k), []byte(v))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tx.Commit(), s.Sync()); err != nil {
		t.Fatal(err)
	}
}

// killed makes a store with several tables and a log that none of them holds, as a
// kill leaves it.
func killed(t testing.TB) (string, world) {
	dir, to := t.TempDir(), t.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	w := world{}
	for range 3 {
		s, err := openStore(dir)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			w.write(t, s, r, 200)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 8 {
		w.write(t, s, r, 40)
	}
	copyDir(t, dir, to)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return to, w
}

func files(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]byte)
	for _, f := range list {
		if out[f.Name()], err = os.ReadFile(filepath.Join(dir, f.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	for name, b := range files(t, from) {
		if err := os.WriteFile(filepath.Join(to, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A wound is something that happens to a file.
type wound struct {
	name string
	do   func(path string, b []byte) error
}

// wounds are flips of bits at n places, cuts, and the loss of the file.
func wounds(n int) []wound {
	out := []wound{
		{"missing", func(path string, _ []byte) error { return os.Remove(path) }},
		{"empty", func(path string, _ []byte) error { return os.Truncate(path, 0) }},
		{"half", func(path string, b []byte) error { return os.Truncate(path, int64(len(b)/2)) }},
		{"short", func(path string, b []byte) error { return os.Truncate(path, int64(len(b)-1)) }},
		{"zeros", func(path string, b []byte) error {
			clear(b[len(b)/3 : len(b)/2])
			return os.WriteFile(path, b, 0o600)
		}},
	}
	for i := range n {
		out = append(out, wound{fmt.Sprintf("flip%d", i), func(path string, b []byte) error {
			b[i*(len(b)-1)/max(n-1, 1)] ^= 1 << (i % 8)
			return os.WriteFile(path, b, 0o600)
		}})
	}
	return out
}

// TestDamage wounds each file of a store: what is read after that is right, or the
// damage is an error that names the file, and it was left for a salvage, which gives
// what it does not list.
func TestDamage(t *testing.T) {
	from, w := killed(t)
	seen := testDamage(t, from, w, 9)
	for _, kind := range []string{".sst", ".vlog", "MANIFEST"} {
		if seen[kind] == 0 {
			t.Errorf("no damage of a %s file was noticed", kind)
		}
	}
}

func testDamage(t *testing.T, from string, w world, flips int) map[string]int {
	seen := make(map[string]int)
	for name := range files(t, from) {
		kind := filepath.Ext(name)
		if name == "MANIFEST" {
			kind = name
		}
		if kind == "" {
			continue // LOCK and WITNESS
		}
		for _, wound := range wounds(flips) {
			t.Run(name+"/"+wound.name, func(t *testing.T) {
				dir := t.TempDir()
				copyDir(t, from, dir)
				path := filepath.Join(dir, name)
				b, err := os.ReadFile(path)
				if err == nil {
					err = wound.do(path, b)
				}
				if err != nil {
					t.Fatal(err)
				}
				checkSalvage(t, dir, w)
				if noticed := checkOpen(t, dir, path, w); noticed {
					seen[kind]++
				} else {
					t.Log("nothing was noticed, and nothing was lost")
				}
			})
		}
	}
	return seen
}

// checkSalvage checks that what a salvage gives is what was written, but for what it
// says is damaged.
func checkSalvage(t *testing.T, dir string, w world) {
	t.Helper()
	got := world{}
	damage, err := Salvage(t.Context(), dir, func(key, value []byte) error {
		got[string(key)] = string(value)
		return nil
	})
	if err != nil {
		t.Fatalf("Salvage: %v", err)
	}
	hurt := func(k string) bool {
		return slices.ContainsFunc(damage, func(d store.Damage) bool {
			return d.Touches([]byte(k)) || d.Lower == nil && d.Upper == nil
		})
	}
	for k := range maps.Keys(got) {
		if v, ok := w[k]; (!ok || v != got[k]) && !hurt(k) {
			t.Fatalf("%s: a salvage gave %.20q, want %.20q (there: %v); damage %v", k, got[k], v, ok, damage)
		}
	}
	for k := range w {
		if _, ok := got[k]; !ok && !hurt(k) {
			t.Fatalf("%s: a salvage left it out, and listed only %v", k, damage)
		}
	}
}

// checkOpen opens the store and reads everything. It reports whether an error said
// what is wrong.
func checkOpen(t *testing.T, dir, path string, w world) bool {
	t.Helper()
	before := files(t, dir)
	s, err := openStore(dir)
	if err != nil {
		if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), dir) {
			t.Fatalf("got %v, want ErrCorrupt that names a file", err)
		}
		after := files(t, dir)
		for name, b := range before {
			if name != "LOCK" && !bytes.Equal(b, after[name]) {
				t.Errorf("%s was changed by an opening that failed: %v", name, err)
			}
		}
		return true
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	noticed := false
	snap := s.Snapshot()
	defer snap.Release()
	for k, v := range w {
		got, err := snap.Get([]byte(k))
		switch {
		case errors.Is(err, store.ErrCorrupt):
			noticed = true
		case err != nil:
			t.Fatalf("%s: %v", k, err)
		case string(got) != v:
			t.Fatalf("%s: got %.20q, want %.20q", k, got, v)
		}
	}
	it := snap.Iterate(store.Range{})
	defer it.Close()
	n := 0
	for ; it.Valid(); it.Next() {
		n++
		v, err := it.Value()
		switch want, ok := w[string(it.Key())]; {
		case errors.Is(err, store.ErrCorrupt):
			noticed = true
		case err != nil || !ok || string(v) != want:
			t.Fatalf("%s: walked over %.20q, %v, want %.20q", it.Key(), v, err, want)
		}
	}
	if err := it.Err(); n != len(w) && !errors.Is(err, store.ErrCorrupt) {
		t.Fatalf("walked over %d keys, %v, want %d", n, err, len(w))
	}
	told := false
	if err := s.Verify(t.Context(), 0, func(d store.Damage) {
		told = true
		if !errors.Is(d.Err, store.ErrCorrupt) || !strings.Contains(d.Err.Error(), d.File) {
			t.Errorf("got damage %+v, want an ErrCorrupt that names its file", d)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); noticed && err == nil && !told {
		t.Error("Verify did not notice what a read did")
	}
	return noticed || told
}

// TestVerify finds nothing in a store that is whole, open and written to.
func TestVerify(t *testing.T) {
	from, w := killed(t)
	s, err := openStore(from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20 {
			w.write(t, s, rand.New(rand.NewPCG(5, 6)), 50)
		}
	}()
	for range 10 {
		if err := s.Verify(t.Context(), 0, func(d store.Damage) { t.Errorf("got damage %+v", d) }); err != nil {
			t.Fatal(err)
		}
	}
	<-done
}
