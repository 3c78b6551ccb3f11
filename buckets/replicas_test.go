package buckets

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store/engines"
)

// newReplicas returns the bucket "b" in databases of their own that share blobs.
// The clock of each is a second ahead of the one before.
func newReplicas(t testing.TB, n int) []*Bucket {
	t.Helper()
	replicas, done := openReplicas(t, n)
	t.Cleanup(done)
	return replicas
}

func openReplicas(t testing.TB, n int) (replicas []*Bucket, done func()) {
	t.Helper()
	blobs := newBlobs()
	var closers []func() error
	for i := range n {
		st, err := engines.OpenMemory()
		if err != nil {
			t.Fatal(err)
		}
		j, err := dbtest.NewJournal(st, "J/", fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		wall := func() time.Time { return time.Now().Add(time.Duration(i) * time.Second) }
		d, err := replica.Open(t.Context(), replica.Options{Store: st, Prefix: []byte("D/"), Journal: j, Clock: &clock.Clock{Wall: wall}})
		if err != nil {
			t.Fatal(err)
		}
		closers = append(closers, d.Close, st.Close)
		b, err := Create(t.Context(), d.DB, blobs, "b")
		if err != nil {
			t.Fatal(err)
		}
		b.entries = &peer{documents: b.entries.(*documents), journal: j, wake: d.Wake}
		replicas = append(replicas, b)
	}
	return replicas, func() {
		for _, c := range closers {
			if err := c(); err != nil {
				t.Error(err)
			}
		}
	}
}

// exchange gives every peer the records of the others.
func exchange(t testing.TB, replicas []*Bucket) {
	t.Helper()
	for _, to := range replicas {
		r := to.entries.(*peer)
		for _, from := range replicas {
			records, err := from.entries.(*peer).journal.Entries()
			if err != nil {
				t.Fatal(err)
			}
			if err := r.journal.Deliver(records...); err != nil {
				t.Fatal(err)
			}
		}
		r.wake()
		if err := r.db.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A peer is a bucket's entries with the journal under them.
type peer struct {
	*documents
	journal *dbtest.Journal
	wake    func()
}

func put(t testing.TB, b *Bucket, path, body string) Entry {
	t.Helper()
	e, err := b.PutFile(t.Context(), path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// wantSame fails unless all replicas derive one root and list the same
// conflicts, and returns the overview.
func wantSame(t testing.TB, replicas []*Bucket) Overview {
	t.Helper()
	var first Overview
	for i, b := range replicas {
		o, err := b.Overview(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = o
		} else if o.Root != first.Root || o.Files != first.Files || !slices.Equal(o.Conflicts, first.Conflicts) {
			t.Fatalf("replica %d: got %+v, want %+v", i, o, first)
		}
	}
	return first
}

// Devices that push different paths while apart merge to one root: that of one
// push of everything.
func TestConcurrentPushesOfDifferentPaths(t *testing.T) {
	replicas := newReplicas(t, 3)
	all := t.TempDir()
	for i, b := range replicas {
		files := map[string]string{fmt.Sprintf("from%d", i): "x", fmt.Sprintf("shared/%d.txt", i): fmt.Sprint(i), "same": "content", "large": string(noise(9, ChunkSize+1))}
		pushDir(t, b, folder(t, files), PushOptions{})
		for name, body := range files {
			p := filepath.Join(all, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(body), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	exchange(t, replicas)
	o := wantSame(t, replicas)
	if len(o.Conflicts) != 0 || o.Files != 8 {
		t.Fatalf("got %+v, want 8 files and no conflict: equal content is none", o)
	}
	if want := added(t, all).Cid(); o.Root != want {
		t.Fatalf("got %s, want %s", o.Root, want)
	}
	for _, b := range replicas {
		if p := pullDir(t, b, t.TempDir()); p.Added != 8 || p.Root != o.Root {
			t.Fatalf("pulled %+v", p)
		}
	}
}

// Of two versions written apart the later is read; the other is listed, can be
// read and goes with Resolve.
func TestConflict(t *testing.T) {
	replicas := newReplicas(t, 2)
	put(t, replicas[0], "f", "base")
	exchange(t, replicas)
	one := put(t, replicas[0], "f", "one")
	two := put(t, replicas[1], "f", "two, which is later")
	exchange(t, replicas)
	o := wantSame(t, replicas)
	if len(o.Conflicts) != 1 || o.Conflicts[0].Path != "f" {
		t.Fatalf("got %+v, want a conflict on f", o.Conflicts)
	}
	for _, b := range replicas {
		e, err := b.Entry(t.Context(), "f")
		if err != nil || e.CID != two.CID || len(e.Conflicts) != 1 || e.Conflicts[0].CID != one.CID {
			t.Fatalf("got %+v, %v, want %s before %s", e, err, two.CID, one.CID)
		}
		var out strings.Builder
		if err := b.CatVersion(t.Context(), "f", one.CID, &out, Whole); err != nil || out.String() != "one" {
			t.Fatalf("got %q, %v", out.String(), err)
		}
	}
	if err := replicas[0].Resolve(t.Context(), "f"); err != nil {
		t.Fatal(err)
	}
	exchange(t, replicas)
	if o := wantSame(t, replicas); len(o.Conflicts) != 0 {
		t.Fatalf("got %+v after Resolve", o.Conflicts)
	}
	if got := cat(t, replicas[1], "f", Whole); got != "two, which is later" {
		t.Fatalf("got %q", got)
	}
}

// A version that the remover had not seen survives, earlier or later.
func TestRemoveWhatChangedApart(t *testing.T) {
	for remover := range 2 {
		replicas := newReplicas(t, 2)
		put(t, replicas[0], "f", "base")
		put(t, replicas[0], "gone", "base")
		exchange(t, replicas)
		for _, p := range []string{"f", "gone"} {
			if err := replicas[remover].Remove(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		put(t, replicas[1-remover], "f", "edited apart")
		exchange(t, replicas)
		if o := wantSame(t, replicas); o.Files != 1 || len(o.Conflicts) != 0 {
			t.Fatalf("remover %d: got %+v, want one file", remover, o)
		}
		if got := cat(t, replicas[remover], "f", Whole); got != "edited apart" {
			t.Fatalf("remover %d: got %q", remover, got)
		}
		if err := replicas[remover].Remove(t.Context(), "gone"); !errors.Is(err, ErrNotFound) {
			t.Fatalf("removed again: got %v, want ErrNotFound", err)
		}
		put(t, replicas[remover], "gone", "base")
		exchange(t, replicas)
		if o := wantSame(t, replicas); o.Files != 2 {
			t.Fatalf("put again: got %+v, want two files", o)
		}
	}
}

// Whatever is written where, replicas that have the same records derive the same
// root and the same conflicts.
func TestReplicasConverge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		replicas, done := openReplicas(t, 3)
		defer done()
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			b := replicas[rapid.IntRange(0, 2).Draw(rt, "replica")]
			path := rapid.SampledFrom([]string{"a", "a/b", "a/b/c", "d", "d/e"}).Draw(rt, "path")
			switch rapid.IntRange(0, 5).Draw(rt, "step") {
			case 0, 1, 2:
				put(t, b, path, rapid.SampledFrom([]string{"", "1", "2", "3"}).Draw(rt, "body"))
			case 3:
				if err := b.Remove(t.Context(), path); err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrPath) {
					rt.Fatal(err)
				}
			case 4:
				if err := b.Resolve(t.Context(), path); err != nil && !errors.Is(err, ErrNotFound) {
					rt.Fatal(err)
				}
			case 5:
				exchange(t, replicas[:rapid.IntRange(2, 3).Draw(rt, "some")])
			}
		}
		exchange(t, replicas)
		wantSame(t, replicas)
	})
}

// Entries of a member's faulty software are left out and listed, alike on all
// replicas.
func TestMalformedEntries(t *testing.T) {
	replicas := newReplicas(t, 2)
	put(t, replicas[0], "good", "x")
	before := root(t, replicas[0])
	docs := replicas[0].entries.(*peer)
	c := emptyFileCID
	for path, doc := range map[string]bson.D{
		"../escape": {{Key: "cid", Value: c}, {Key: "size", Value: int64(0)}, {Key: "tsize", Value: int64(0)}, {Key: "v", Value: bson.D{{Key: c, Value: bson.D{{Key: "size", Value: int64(0)}, {Key: "tsize", Value: int64(0)}}}}}},
		"none":      {},
		"mismatch":  {{Key: "cid", Value: c}, {Key: "size", Value: int64(5)}, {Key: "tsize", Value: int64(0)}, {Key: "v", Value: bson.D{{Key: c, Value: bson.D{{Key: "size", Value: int64(0)}, {Key: "tsize", Value: int64(0)}}}}}},
		"nocid":     {{Key: "cid", Value: "x"}, {Key: "size", Value: int64(0)}, {Key: "tsize", Value: int64(0)}, {Key: "v", Value: bson.D{{Key: "x", Value: bson.D{{Key: "size", Value: int64(0)}, {Key: "tsize", Value: int64(0)}}}}}},
	} {
		raw, err := bson.Marshal(append(bson.D{{Key: "_id", Value: path}}, doc...))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := docs.db.Collection(docs.name).Insert(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
	}
	exchange(t, replicas)
	o := wantSame(t, replicas)
	if o.Root != before || len(o.Conflicts) != 4 {
		t.Fatalf("got %+v, want the root of before and 4 notes", o)
	}
	if r := pullDir(t, replicas[1], t.TempDir()); r.Added != 1 || len(r.Skipped) != 4 {
		t.Fatalf("got %+v", r)
	}
	// They can be written over and removed.
	put(t, replicas[1], "none", "now well formed")
	pushDir(t, replicas[1], folder(t, map[string]string{"mismatch": "too"}), PushOptions{})
	if err := replicas[1].Remove(t.Context(), "nocid"); err != nil {
		t.Fatal(err)
	}
	exchange(t, replicas)
	if o := wantSame(t, replicas); o.Files != 3 || len(o.Conflicts) != 1 {
		t.Fatalf("got %+v, want 3 files and the note of ../escape", o)
	}
}

func TestCreateOpenList(t *testing.T) {
	ctx := t.Context()
	b := newReplicas(t, 1)[0]
	d := b.entries.(*peer).db
	if _, err := Create(ctx, d, b.blobs, b.Name()); !errors.Is(err, ErrExists) {
		t.Fatalf("got %v, want ErrExists", err)
	}
	for _, name := range []string{"", "A", "-a", "a/b", strings.Repeat("a", 64)} {
		if _, err := Create(ctx, d, b.blobs, name); !errors.Is(err, ErrName) {
			t.Errorf("%q: got %v, want ErrName", name, err)
		}
	}
	if _, err := Open(ctx, d, b.blobs, "none"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("got %v, want ErrNotFound", err)
	}
	if _, err := Create(ctx, d, b.blobs, "second-1.x"); err != nil {
		t.Fatal(err)
	}
	names, err := List(ctx, d)
	if err != nil || !slices.Equal(names, []string{b.Name(), "second-1.x"}) {
		t.Fatalf("got %v, %v", names, err)
	}
	put(t, b, "f", "x")
	again, err := Open(ctx, d, b.blobs, b.Name())
	if err != nil || root(t, again) != root(t, b) {
		t.Fatalf("opened again: %v", err)
	}
}
