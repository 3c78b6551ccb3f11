package node_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/weftdb/weft/buckets"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
)

// A blobFile is the file of a blob in a home, and what it held.
type blobFile struct {
	path  string
	whole []byte
}

// files returns the blobs of a home that are files.
func files(t *testing.T, home string) (all []blobFile) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(home, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all = append(all, blobFile{path, b})
		return err
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("%d files of blobs, %v", len(all), err)
	}
	return all
}

// alter flips a bit of the file.
func (f blobFile) alter(t *testing.T) {
	t.Helper()
	b := bytes.Clone(f.whole)
	b[len(b)/2] ^= 1
	if err := os.WriteFile(f.path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// back reports whether the file is whole again.
func (f blobFile) back() bool {
	b, err := os.ReadFile(f.path)
	return err == nil && bytes.Equal(b, f.whole)
}

// eventually waits for what no channel tells of.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !is() {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatal(what)
		}
	}
}

func diagnose(t *testing.T, n *node.Node, o node.CheckOptions) node.Diagnosis {
	t.Helper()
	d, err := n.Check(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func repair(t *testing.T, o node.RepairOptions) node.Repair {
	t.Helper()
	r, err := node.RepairHome(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A relay's check reads the blobs that it keeps for others, says which file of which thread
// is altered, and has a member give them again while it runs; so does the background check.
func TestRelayGetsDamagedBlobsAgain(t *testing.T) {
	w := newTown(t)
	a := w.device(w.options)
	s := newShelf(t, a, "album", "")
	s.put("a.jpg", content(1, 300_000))
	s.put("b.jpg", content(2, 300_000))
	w.becomes(a, "album", "identical")
	ref, err := a.DatabaseRef("album")
	if err != nil {
		t.Fatal(err)
	}
	if d := diagnose(t, w.relay, node.CheckOptions{}); !d.Whole() || len(d.Kept) == 0 || d.Kept[0].Blobs == 0 {
		t.Fatalf("a whole relay: %+v", d)
	}
	all := files(t, w.relay.Home())
	all[0].alter(t)
	if err := os.Remove(all[1].path); err != nil {
		t.Fatal(err)
	}
	d := diagnose(t, w.relay, node.CheckOptions{})
	i := slices.IndexFunc(d.Kept, func(b node.DatabaseDiagnosis) bool { return b.ID == ref.ID.String() })
	if i < 0 || d.Whole() || d.Broken() || len(d.Kept[i].Damage) != 2 {
		t.Fatalf("got %+v", d)
	}
	for _, f := range all[:2] {
		if said := strings.Join(d.Kept[i].Damage, "\n"); !strings.Contains(said, f.path) || !strings.Contains(said, ref.ID.String()) {
			t.Errorf("got %q, want file %s and thread %s", said, f.path, ref.ID)
		}
	}
	if all[0].back() {
		t.Fatal("a check alone mends")
	}
	diagnose(t, w.relay, node.CheckOptions{Logs: true, Mend: true})
	eventually(t, "the blobs did not come again", func() bool { return all[0].back() && all[1].back() })
	w.becomes(a, "album", "identical")
	if d := diagnose(t, w.relay, node.CheckOptions{}); !d.Whole() || d.Lacking() {
		t.Errorf("got %+v", d)
	}

	scrubbed := open(t, node.Config{Relay: true, ScrubEvery: time.Millisecond, ScrubRate: 1 << 30})
	own := newTownOf(t, scrubbed)
	b := own.device(own.options)
	shelf := newShelf(t, b, "album", "")
	shelf.put("a.jpg", content(1, 300_000))
	own.becomes(b, "album", "identical")
	f := files(t, scrubbed.Home())[0]
	f.alter(t)
	eventually(t, "the background check mends nothing", f.back)
}

// A repair of a relay says what is lacking, which comes when a device connects; until then
// status lists it.
func TestRepairOfRelay(t *testing.T) {
	home := filepath.Join(t.TempDir(), "relay")
	w := newTownOf(t, open(t, node.Config{Home: home, Relay: true}))
	a := w.device(w.options)
	s := newShelf(t, a, "album", "")
	s.put("a.jpg", content(1, 300_000))
	w.becomes(a, "album", "identical")
	ref, err := a.DatabaseRef("album")
	if err != nil {
		t.Fatal(err)
	}
	aHome := a.Home()
	listen := w.relay.Addrs()
	if err := closeAll(a, w.relay); err != nil {
		t.Fatal(err)
	}
	f := files(t, home)[0]
	f.alter(t)

	r := repair(t, node.RepairOptions{Home: home, Wait: time.Second})
	if r.Whole() || r.Kept != "" || len(r.Threads) != 1 || r.Threads[0].ID != ref.ID.String() || len(r.Threads[0].Lacks) != 1 {
		t.Fatalf("got %+v", r)
	}
	relay := open(t, node.Config{Home: home, Relay: true, Listen: ports(t, listen)})
	st, err := relay.Status()
	if err != nil || len(st.Lost) != 1 || !strings.Contains(st.Lost[0].Reason, filepath.Base(f.path)) || !strings.Contains(st.Lost[0].Reason, ref.ID.String()) {
		t.Fatalf("got %+v, %v", st.Lost, err)
	}
	a = open(t, node.Config{Home: aHome})
	w.relay = relay
	eventually(t, "the blob did not come", f.back)
	w.becomes(a, "album", "identical")
	if st, err := relay.Status(); err != nil || len(st.Lost) != 0 {
		t.Errorf("got %+v, %v", st.Lost, err)
	}
}

// A member's altered blob costs the rest of the database nothing, and a repair fetches it
// from who has it, in the store that there is.
func TestRepairFetchesBlobs(t *testing.T) {
	w := newTown(t)
	a := w.device(w.options)
	s := newShelf(t, a, "album", "")
	s.put("a.jpg", content(1, 300_000))
	s.put("b.jpg", content(2, 300_000))
	w.becomes(a, "album", "identical")
	all := files(t, a.Home())
	all[0].alter(t)
	d := diagnose(t, a, node.CheckOptions{})
	if d.Whole() || d.Broken() || len(d.Databases) != 1 || len(d.Databases[0].Damage) != 1 || !strings.Contains(d.Databases[0].Damage[0], all[0].path) {
		t.Fatalf("got %+v", d)
	}
	if _, err := a.Database(t.Context(), "album"); err != nil {
		t.Fatalf("the database: %v", err)
	}
	var buf bytes.Buffer
	if _, err := a.Backup(t.Context(), &buf); !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), all[0].path) || !strings.Contains(err.Error(), "weft doctor --repair") {
		t.Errorf("a backup: %v", err)
	}
	want, home := hashOf(t, a, "album"), a.Home()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(home, "blobs")); err != nil { // and all others
		t.Fatal(err)
	}
	var told []string
	r := repair(t, node.RepairOptions{Home: home, Wait: patience, Tell: func(text string) { told = append(told, text) }})
	if !r.Whole() || r.Kept != "" || len(r.Databases) != 1 || r.Databases[0].Hash != want || len(r.Databases[0].Lacks) != 0 || len(told) != 1 {
		t.Fatalf("got %+v, told %q", r, told)
	}
	for _, f := range all {
		if !f.back() {
			t.Errorf("%s is not back", f.path)
		}
	}
	a = open(t, node.Config{Home: home})
	if d := diagnose(t, a, node.CheckOptions{}); !d.Whole() || d.Lacking() {
		t.Errorf("got %+v", d)
	}
	if _, err := a.Backup(t.Context(), &buf); err != nil {
		t.Errorf("a backup after the repair: %v", err)
	}
}

// What nobody has is lost by name: doctor, status and backups list it and go on; so does
// what is restored of such a backup. Pushing the file again ends that, also where the push
// finds the entry unchanged.
func TestLostBlobIsNamed(t *testing.T) {
	ctx := t.Context()
	home := filepath.Join(t.TempDir(), "home")
	a := open(t, node.Config{Home: home})
	s := newShelf(t, a, "album", "")
	lost := content(1, 3_000_000) // of twelve leaves
	s.put("dir/a.jpg", lost)
	s.put("b.jpg", content(2, 100_000))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	all := files(t, home)
	f := all[slices.IndexFunc(all, func(f blobFile) bool { return len(f.whole) > 200_000 })]
	f.alter(t)

	named := func(lacks []node.Lack) bool {
		return len(lacks) == 1 && lacks[0].ID == filepath.Base(f.path) && slices.Equal(lacks[0].Files, []string{"album/dir/a.jpg"})
	}
	r := repair(t, node.RepairOptions{Home: home})
	if r.Whole() || len(r.Databases) != 1 || !named(r.Databases[0].Lacks) || !r.Databases[0].Served {
		t.Fatalf("got %+v", r)
	}
	if r := repair(t, node.RepairOptions{Home: home}); !r.Whole() || len(r.Databases) != 1 || !named(r.Databases[0].Lacks) {
		t.Fatalf("again: got %+v", r)
	}
	n := open(t, node.Config{Home: home})
	d := diagnose(t, n, node.CheckOptions{})
	if !d.Whole() || !named(d.Databases[0].Lacks) {
		t.Fatalf("got %+v", d)
	}
	st, err := n.Status()
	if err != nil || len(st.Lost) != 1 || !strings.Contains(st.Lost[0].Reason, "album/dir/a.jpg") {
		t.Fatalf("got %+v, %v", st.Lost, err)
	}
	b, err := n.Bucket(ctx, "album")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := b.Cat(ctx, "dir/a.jpg", &got, buckets.Whole); !fault.Is(err, fault.Altered) {
		t.Errorf("the file that is lost: got %v", err)
	}
	if err := b.Cat(ctx, "b.jpg", &got, buckets.Whole); err != nil {
		t.Errorf("another: %v", err)
	}
	if c := compact(t, n, "album"); c.Blobs != 0 {
		t.Errorf("compacting: got %+v", c)
	}
	var file bytes.Buffer
	m, err := n.Backup(ctx, &file)
	if err != nil || len(m.Databases) != 1 || !named(m.Databases[0].Lacks) {
		t.Fatalf("a backup: %+v, %v", m, err)
	}
	restored := filepath.Join(t.TempDir(), "restored")
	if _, err := node.Restore(ctx, bytes.NewReader(file.Bytes()), node.RestoreOptions{Home: restored}); err != nil {
		t.Fatal(err)
	}
	again := open(t, node.Config{Home: restored})
	if d := diagnose(t, again, node.CheckOptions{}); !d.Whole() || !named(d.Databases[0].Lacks) {
		t.Fatalf("restored: got %+v", d)
	}

	push := func(n *node.Node) {
		t.Helper()
		b, err := n.Bucket(ctx, "album")
		if err != nil {
			t.Fatal(err)
		}
		report, err := b.Push(ctx, fstest.MapFS{"dir/a.jpg": {Data: []byte(lost)}}, buckets.PushOptions{})
		if err != nil || report.Unchanged != 1 {
			t.Fatalf("got %+v, %v", report, err)
		}
		if d := diagnose(t, n, node.CheckOptions{}); !d.Whole() || d.Lacking() {
			t.Errorf("got %+v", d)
		}
		if st, err := n.Status(); err != nil || len(st.Lost) != 0 {
			t.Errorf("got %+v, %v", st.Lost, err)
		}
		if m, err := n.Backup(ctx, &file); err != nil || len(m.Databases[0].Lacks) != 0 {
			t.Errorf("a backup: %+v, %v", m, err)
		}
	}
	push(n)
	push(again)
	if !f.back() {
		t.Error("the file is not whole")
	}
}

// A file that is put back where it was, as from another backup, is taken back by a repair.
func TestRepairTakesBack(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	a := open(t, node.Config{Home: home})
	s := newShelf(t, a, "album", "")
	s.put("a.jpg", content(1, 300_000))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	f := files(t, home)[0]
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	if r := repair(t, node.RepairOptions{Home: home}); r.Whole() {
		t.Fatalf("got %+v", r)
	}
	if err := os.WriteFile(f.path, f.whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := repair(t, node.RepairOptions{Home: home}); !r.Whole() || len(r.Databases) != 1 || len(r.Databases[0].Lacks) != 0 {
		t.Fatalf("got %+v", r)
	}
	a = open(t, node.Config{Home: home})
	if d := diagnose(t, a, node.CheckOptions{}); !d.Whole() || d.Lacking() {
		t.Errorf("got %+v", d)
	}
}

// A database of which more is damaged is rebuilt, and its damaged blobs are lacking as
// such, and not lost records.
func TestRebuildNotesBlobs(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	a := open(t, node.Config{Home: home})
	s := newShelf(t, a, "album", "")
	s.put("a.jpg", content(1, 300_000))
	for i := range 30 {
		s.put("small"+string(rune('a'+i)), "x")
	}
	node.Harm(t, a, "album", "documents")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	files(t, home)[0].alter(t)
	r := repair(t, node.RepairOptions{Home: home})
	if r.Whole() || r.Kept == "" || len(r.Databases) != 1 || len(r.Databases[0].Lost) != 0 || len(r.Databases[0].Lacks) != 1 {
		t.Fatalf("got %+v", r)
	}
	a = open(t, node.Config{Home: home})
	if d := diagnose(t, a, node.CheckOptions{}); !d.Whole() || len(d.Databases[0].Lacks) != 1 {
		t.Errorf("got %+v", d)
	}
}

// The log of a thread that a relay keeps is checked too: it is exchanged no more, devices
// are told why, and a repair has it come again.
func TestRelayChecksLogs(t *testing.T) {
	home := filepath.Join(t.TempDir(), "relay")
	w := newTownOf(t, open(t, node.Config{Home: home, Relay: true}))
	a := w.device(w.options)
	s := newShelf(t, a, "album", "")
	for i := range 20 {
		s.put("small"+string(rune('a'+i)), "x")
	}
	w.becomes(a, "album", "identical")
	node.HarmKept(t, w.relay)
	d := diagnose(t, w.relay, node.CheckOptions{})
	if !d.Broken() || len(d.Damage) != 0 || len(d.Kept) == 0 {
		t.Fatalf("got %+v", d)
	}
	eventually(t, "the device is not told why", func() bool { return w.becomes(a, "album", "refused").Code == fault.Corrupt })
	listen, aHome := w.relay.Addrs(), a.Home()
	if err := closeAll(a, w.relay); err != nil {
		t.Fatal(err)
	}
	if r := repair(t, node.RepairOptions{Home: home, Wait: time.Second}); !r.Whole() || len(r.Threads) != 1 {
		t.Fatalf("got %+v", r)
	}
	w.relay = open(t, node.Config{Home: home, Relay: true, Listen: ports(t, listen)})
	a = open(t, node.Config{Home: aHome})
	w.becomes(a, "album", "identical")
	if d := diagnose(t, w.relay, node.CheckOptions{}); !d.Whole() {
		t.Errorf("got %+v", d)
	}
}

// A repair of a relay's store loses rows of what it keeps, and nothing tells which: it says
// so, and the relay asks for all blobs again once it runs, those among them whose rows are
// gone.
func TestRepairedRelayAsksAgain(t *testing.T) {
	for _, part := range []float64{0.5, 0.8, 0.95} {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			home := filepath.Join(t.TempDir(), "relay")
			w := newTownOf(t, open(t, node.Config{Home: home, Relay: true}))
			a := w.device(w.options)
			s := newShelf(t, a, "album", "")
			s.put("small.txt", content(0, 1000))
			w.becomes(a, "album", "identical")
			for i := range 5 {
				s.put(fmt.Sprint(i), content(uint64(i+1), 300_000))
				w.becomes(a, "album", "identical")
			}
			kept := func(n *node.Node) int64 {
				d := diagnose(t, n, node.CheckOptions{})
				if len(d.Kept) == 0 {
					return 0
				}
				return d.Kept[0].Blobs
			}
			want, aHome, listen := kept(w.relay), a.Home(), w.relay.Addrs()
			if err := closeAll(a, w.relay); err != nil {
				t.Fatal(err)
			}
			logs, err := filepath.Glob(filepath.Join(home, "store", "*.log"))
			if err != nil || len(logs) == 0 {
				t.Fatal(logs, err)
			}
			largest := slices.MaxFunc(logs, func(a, b string) int { return cmp.Compare(sizeOf(t, a), sizeOf(t, b)) })
			b, err := os.ReadFile(largest)
			if err != nil {
				t.Fatal(err)
			}
			b[int(part*float64(len(b)))] ^= 1
			if err := os.WriteFile(largest, b, 0o600); err != nil {
				t.Fatal(err)
			}
			r := repair(t, node.RepairOptions{Home: home, Wait: time.Second})
			if r.Kept == "" {
				t.Skip("the flip was behind the end of the log")
			}
			if r.Whole() || slices.ContainsFunc(r.Threads, func(th node.RebuiltThread) bool { return !th.Uncertain }) {
				t.Fatalf("got %+v", r)
			}
			relay := open(t, node.Config{Home: home, Relay: true, Listen: ports(t, listen)})
			_ = open(t, node.Config{Home: aHome})
			eventually(t, "the blobs did not come again", func() bool { return kept(relay) >= want })
		})
	}
}

func sizeOf(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
