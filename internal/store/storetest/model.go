package storetest

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weftdb/weft/internal/store"
)

// A model is what a reader must show.
type model map[string]string

// walk returns the model's keys in r from key on (nil: all of r).
func (m model) walk(r store.Range, from []byte) []string {
	var keys []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		in := k >= string(r.Lower) && (r.Upper == nil || k < string(r.Upper))
		if from != nil && r.Reverse {
			in = in && k <= string(from)
		} else if from != nil {
			in = in && k >= string(from)
		}
		if in {
			keys = append(keys, k)
		}
	}
	if r.Reverse {
		slices.Reverse(keys)
	}
	return keys
}

// check compares a reader with m: every key, and one walk with a seek.
func (m model) check(t *rapid.T, r store.Reader, rng store.Range, seek []byte) {
	for k := range keyRange {
		key := []byte(keyName(k))
		v, ok := m[string(key)]
		got, err := r.Get(key)
		if ok && (err != nil || string(got) != v) || !ok && !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("Get(%q): got %q, %v; want %q, %v", key, got, err, v, ok)
		}
	}
	it := r.Iterate(rng)
	defer it.Close()
	m.checkWalk(t, it, m.walk(rng, nil))
	it.Seek(seek)
	m.checkWalk(t, it, m.walk(rng, seek))
	it.Seek(nil)
	m.checkWalk(t, it, m.walk(rng, nil))
}

func (m model) checkWalk(t *rapid.T, it store.Iterator, keys []string) {
	for _, k := range keys {
		if !it.Valid() || string(it.Key()) != k {
			t.Fatalf("iterator: got %q (valid %v), want %q", it.Key(), it.Valid(), k)
		}
		if v, err := it.Value(); err != nil || string(v) != m[k] {
			t.Fatalf("value of %q: got %q, %v; want %q", k, v, err, m[k])
		}
		it.Next()
	}
	if it.Valid() || it.Err() != nil {
		t.Fatalf("iterator: valid %v at %q, error %v; want the end", it.Valid(), it.Key(), it.Err())
	}
}

const keyRange = 24

// keyName gives keys of which some are prefixes of others.
func keyName(i int) string { return "aababbabba\xff\xff"[i%6:][:1+i/6] + string(rune('a'+i%2)) }

func drawKey(t *rapid.T) []byte {
	return []byte(keyName(rapid.IntRange(0, keyRange-1).Draw(t, "key")))
}

func drawBound(t *rapid.T, label string) []byte {
	if rapid.Bool().Draw(t, label) {
		return drawKey(t)
	}
	return nil
}

func drawRange(t *rapid.T) store.Range {
	r := store.Range{Lower: drawBound(t, "lower"), Upper: drawBound(t, "upper")}
	if r.Lower != nil && rapid.Bool().Draw(t, "prefix") {
		r = store.Prefix(r.Lower)
	}
	if r.Upper != nil && bytes.Compare(r.Lower, r.Upper) > 0 {
		r.Lower, r.Upper = r.Upper, r.Lower
	}
	r.Reverse = rapid.Bool().Draw(t, "reverse")
	r.KeysOnly = rapid.Bool().Draw(t, "keysOnly")
	return r
}

// testModel runs transactions and snapshots against maps.
func testModel(t *testing.T, s store.Store) {
	rapid.Check(t, func(t *rapid.T) {
		now := model{}
		wipe(t, s)
		type shot struct {
			s store.Snapshot
			m model
		}
		var shots []shot
		defer func() {
			for _, sh := range shots {
				sh.s.Release()
			}
		}()
		for range rapid.IntRange(1, 6).Draw(t, "transactions") {
			next := maps.Clone(now)
			tx := s.Begin()
			for range rapid.IntRange(0, 12).Draw(t, "writes") {
				k := drawKey(t)
				if rapid.IntRange(0, 3).Draw(t, "op") == 0 {
					delete(next, string(k))
					if err := tx.Delete(k); err != nil {
						t.Fatal(err)
					}
					continue
				}
				v := make([]byte, rapid.SampledFrom([]int{0, 1, 9, 300, 5000}).Draw(t, "len"))
				for i := range v {
					v[i] = k[0] + byte(i+len(next))
				}
				next[string(k)] = string(v)
				if err := tx.Put(k, v); err != nil {
					t.Fatal(err)
				}
			}
			next.check(t, tx, drawRange(t), drawBound(t, "seek"))
			if rapid.Bool().Draw(t, "commit") {
				if err := tx.Commit(); err != nil {
					t.Fatal(err)
				}
				now = next
			}
			tx.Discard()
			shots = append(shots, shot{s.Snapshot(), now})
		}
		for _, sh := range shots {
			sh.m.check(t, sh.s, drawRange(t), drawBound(t, "seek"))
		}
	})
}

func wipe(t *rapid.T, s store.Store) {
	tx := s.Begin()
	defer tx.Discard()
	it := tx.Iterate(store.Range{KeysOnly: true})
	for ; it.Valid(); it.Next() {
		if err := tx.Delete(bytes.Clone(it.Key())); err != nil {
			t.Fatal(err)
		}
	}
	it.Close()
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}
