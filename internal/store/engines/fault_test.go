package engines_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
)

// A fault is what happens to a file of a store while nobody has it open.
type fault struct {
	name string
	do   func(name string, r *rand.Rand) error
}

var faults = []fault{
	{"a bit flipped", func(name string, r *rand.Rand) error {
		p, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if len(p) == 0 {
			return nil
		}
		p[r.IntN(len(p))] ^= 1 << r.IntN(8)
		return os.WriteFile(name, p, 0o600)
	}},
	{"cut", func(name string, r *rand.Rand) error {
		fi, err := os.Stat(name)
		if err != nil {
			return err
		}
		return os.Truncate(name, r.Int64N(max(1, fi.Size())))
	}},
	{"missing", func(name string, _ *rand.Rand) error { return os.Remove(name) }},
}

// An outcome is what a user sees of a damaged store.
type outcome string

const (
	harmless    outcome = "nothing is missing"
	atOpen      outcome = "corrupt at open"
	atRead      outcome = "corrupt where it is read, the rest is served"
	silentlyBad outcome = "WRONG"
)

// specimen fills a store so that it has tables, and a log with what is in none, and
// returns what it holds. The folder is copied while the store is open, which is what
// a killed process leaves, or after it is closed.
func specimen(t testing.TB, engine string, killed bool) (dir string, holds map[string]string) {
	t.Helper()
	work := filepath.Join(t.TempDir(), "store")
	s := opener(engine)(t, work)
	r := rand.New(rand.NewPCG(7, 7))
	holds = map[string]string{}
	for round := range 6 {
		for range 20 {
			tx := s.Begin()
			for range 20 {
				k, v := fmt.Sprintf("d%d/%06d", r.IntN(3), r.IntN(100_000)), make([]byte, []int{20, 200, 5000}[r.IntN(3)])
				for i := range v {
					v[i] = byte(r.Uint32())
				}
				if err := tx.Put([]byte(k), v); err != nil {
					t.Fatal(err)
				}
				holds[k] = string(v)
			}
			if err := errors.Join(tx.Commit(), s.Sync()); err != nil {
				t.Fatal(err)
			}
		}
		if round == 3 {
			if err := s.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir = filepath.Join(t.TempDir(), "store")
	if killed {
		copyStore(t, work, dir)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !killed {
		copyStore(t, work, dir)
	}
	return dir, holds
}

func copyStore(t testing.TB, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(files(t, from), store.ReserveFile) {
		b, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o700)
		}
		// Room that a log has not used yet takes no time.
		used := bytes.TrimRight(b, "\x00")
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), used, 0o600)
		}
		if err == nil {
			err = os.Truncate(filepath.Join(to, name), int64(len(b)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

var digits = regexp.MustCompile(`[0-9]+`)

// kindOf names the kind of a file.
func kindOf(name string) string {
	return digits.ReplaceAllString(filepath.Base(name), "N")
}

// see opens a damaged store and reads all of it, as a user would.
func see(t testing.TB, engine, dir string, holds map[string]string) (outcome, string) {
	t.Helper()
	s, err := engines.Open(dir, &engines.Options{Engine: engine, Logf: t.Logf})
	if errors.Is(err, store.ErrCorrupt) {
		return atOpen, ""
	}
	if err != nil {
		return silentlyBad, fmt.Sprintf("an error that does not say corrupt: %v", err)
	}
	defer s.Close()
	snap := s.Snapshot()
	defer snap.Release()
	got, bad := map[string]string{}, false
	it := snap.Iterate(store.Range{})
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			bad = true
			if !errors.Is(err, store.ErrCorrupt) {
				return silentlyBad, fmt.Sprintf("a read that does not say corrupt: %v", err)
			}
			continue
		}
		got[string(it.Key())] = string(v)
	}
	if err := it.Err(); err != nil {
		bad = true
		if !errors.Is(err, store.ErrCorrupt) {
			return silentlyBad, fmt.Sprintf("a walk that does not say corrupt: %v", err)
		}
	}
	it.Close()
	for k, want := range holds {
		v, err := snap.Get([]byte(k))
		switch {
		case errors.Is(err, store.ErrCorrupt):
			bad = true
		case err != nil:
			return silentlyBad, fmt.Sprintf("key %s: %v", k, err)
		case string(v) != want:
			return silentlyBad, fmt.Sprintf("key %s has another value", k)
		}
		if v, walked := got[k]; walked && v != want || !walked && !bad {
			return silentlyBad, fmt.Sprintf("key %s was walked over: %v, with another value: %v", k, walked, v != want)
		}
	}
	for k := range got {
		if _, is := holds[k]; !is {
			return silentlyBad, fmt.Sprintf("key %q was never written", k)
		}
	}
	if bad {
		var found int
		if err := s.Verify(t.Context(), 0, func(store.Damage) { found++ }); err != nil && !errors.Is(err, store.ErrCorrupt) || err == nil && found == 0 {
			return silentlyBad, fmt.Sprintf("a read is corrupt and Verify finds %d, %v", found, err)
		}
		return atRead, ""
	}
	return harmless, ""
}

// salvaged counts what Salvage gives of a damaged store. What it gives was written, and
// with whole files it is also the last value, and all of it; or damage is listed: a table
// of badger's has one checksum, so that any of its keys may be the damage.
func salvaged(t testing.TB, what, dir string, holds map[string]string, whole bool) (keys int, listed int) {
	t.Helper()
	got := map[string]string{}
	lost, err := engines.Salvage(t.Context(), dir, func(k, v []byte) error {
		got[string(k)] = string(v)
		return nil
	})
	if err != nil {
		t.Errorf("%s: Salvage: %v", what, err)
	}
	for k, v := range got {
		if want, is := holds[k]; !is && len(lost) == 0 {
			t.Errorf("%s: Salvage gave a key that was never written, and lists no damage: %q", what, k)
		} else if whole && len(lost) == 0 && v != want {
			t.Errorf("%s: Salvage gave another value of %q", what, k)
		}
	}
	if whole && len(got) < len(holds) && len(lost) == 0 {
		t.Errorf("%s: Salvage gave %d of %d keys and lists no damage", what, len(got), len(holds))
	}
	return len(got), len(lost)
}

// TestFaults damages every kind of file of a store of each engine. Nothing is ever
// missing or changed without an error that says corrupt.
func TestFaults(t *testing.T) {
	for _, engine := range engines.Names() {
		damageAll(t, engine, 1)
	}
}

func damageAll(t *testing.T, engine string, tries int) {
	for _, killed := range []bool{false, true} {
		state := map[bool]string{false: "closed", true: "killed"}[killed]
		t.Run(engine+"/"+state, func(t *testing.T) {
			dir, holds := specimen(t, engine, killed)
			r := rand.New(rand.NewPCG(rand.Uint64(), 1))
			table := map[string]map[outcome]int{}
			for _, name := range files(t, dir) {
				for _, f := range faults {
					n := tries
					if f.name == "missing" {
						n = 1
					}
					for range n {
						copied := filepath.Join(t.TempDir(), "store")
						copyStore(t, dir, copied)
						if err := f.do(filepath.Join(copied, name), r); err != nil {
							t.Fatal(err)
						}
						keys, listed := 0, 0
						if r.IntN(3) == 0 {
							keys, listed = salvaged(t, name+" "+f.name, copied, holds, f.name == "a bit flipped")
						}
						before := contents(t, copied)
						saw, why := see(t, engine, copied, holds)
						if saw == atOpen {
							remains(t, engine, copied, name+" "+f.name, before)
						}
						if saw == silentlyBad {
							t.Errorf("%s %s: %s (salvage: %d of %d, %d listed)", name, f.name, why, keys, len(holds), listed)
						}
						if saw != silentlyBad && !promised(engine, kindOf(name), f.name, saw) {
							t.Errorf("%s %s: %s, which the table of faults does not say", name, f.name, saw)
						}
						row := kindOf(name) + ", " + f.name
						if table[row] == nil {
							table[row] = map[outcome]int{}
						}
						table[row][saw]++
						if err := os.RemoveAll(copied); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			for _, row := range slices.Sorted(maps.Keys(table)) {
				t.Logf("%s: %s", row, countsOf(table[row]))
			}
		})
	}
}

// contents returns the hashes of the files of a store.
func contents(t testing.TB, dir string) map[string][32]byte {
	t.Helper()
	all := map[string][32]byte{}
	for _, name := range files(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = sha256.Sum256(b)
	}
	return all
}

// remains checks that what was refused at the opening is refused each further time, and
// that every file is there for a salvage as it was.
func remains(t *testing.T, engine, dir, what string, before map[string][32]byte) {
	t.Helper()
	for range 3 {
		if s, err := engines.Open(dir, &engines.Options{Engine: engine}); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: opened again: got %v, want corrupt", what, err)
			if err == nil {
				_ = s.Close()
			}
		}
	}
	after := contents(t, dir)
	for name, sum := range before {
		if got, ok := after[name]; !ok || got != sum {
			t.Errorf("%s: a refused opening changed %s (it is there: %v)", what, name, ok)
		}
	}
}

func countsOf(m map[outcome]int) string {
	var parts []string
	for _, o := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", o, m[o]))
	}
	return strings.Join(parts, ", ")
}

// files returns the files in dir that hold something, by name.
func files(t testing.TB, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == store.ReserveFile {
			return err
		}
		if d.Name() != "LOCK" {
			var rel string
			rel, err = filepath.Rel(dir, name)
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
