package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A story is one run: what happened, in order, with what was compared.
type story struct {
	*world
	data, files string
	checks      int

	relay, a, b     *home
	relayAddr       string
	key, secret     string
	aliceID, bobID  string
	folder          string   // what A pushes
	docs            int64    // documents in the database
	jsonl           int64    // bytes of the JSONL, decompressed
	needles, plants [][]byte // plaintext that must not, and must, be found
}

func (s *story) tell() error {
	steps := []struct {
		name string
		run  func() error
	}{
		{"a relay, whose developer makes a user group key", s.startRelay},
		{"A and B get identities, the relay and a mailbox each; B goes away", s.introduce},
		{"A imports the documents and indexes them", s.importData},
		{"A pushes a folder, sends B an invite, and is stopped", s.publish},
		{"B reads its inbox, joins, and catches up from the relay alone", s.catchUp},
		{"B has what A had", s.compare},
		{"B writes while A is down; A returns and has B's writes", s.returnToA},
		{"a revoked key and no key at all are refused, by name", s.refuse},
		{"the relay's disk is searched for plaintext", s.searchRelay},
	}
	for i, step := range steps {
		fmt.Printf("%d. %s\n", i+1, step.name)
		start := time.Now()
		if err := step.run(); err != nil {
			return fmt.Errorf("step %d (%s): %w", i+1, step.name, err)
		}
		s.say("%.2f s", time.Since(start).Seconds())
	}
	return nil
}

// say prints one line of the report.
func (s *story) say(format string, args ...any) { fmt.Printf("   "+format+"\n", args...) }

// equal is one comparison.
func (s *story) equal(what string, got, want any) error {
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		return fmt.Errorf("%s: got %s, want %s", what, shorten(g), shorten(w))
	}
	s.checks++
	return nil
}

func shorten(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}

func (s *story) startRelay() (err error) {
	if s.relay, err = s.home("relay"); err != nil {
		return err
	}
	if err := s.relay.start("--relay"); err != nil {
		return err
	}
	if s.relayAddr, err = s.relay.addr(); err != nil {
		return err
	}
	if s.key, s.secret, err = s.createKey("demo app"); err != nil {
		return err
	}
	s.say("relay at %s, idle with %s of memory", s.relayAddr, size(s.relay.rss()))
	return nil
}

func (s *story) createKey(name string) (key, secret string, err error) {
	var k struct{ Key, Secret string }
	err = s.relay.weftJSON(&k, "key", "create", "--type", "user", "--name", name)
	if err == nil && (k.Key == "" || k.Secret == "") {
		err = fmt.Errorf("key create printed no key and secret: %+v", k)
	}
	return k.Key, k.Secret, err
}

// device makes a home that uses the relay with a key, and starts it.
func (s *story) device(name, key, secret string) (h *home, did string, err error) {
	if h, err = s.home(name); err != nil {
		return nil, "", err
	}
	add := []string{"relay", "add", s.relayAddr}
	if key != "" {
		add = append(add, "--key", key, "--secret", secret)
	}
	if _, err := h.weft(add...); err != nil {
		return nil, "", err
	}
	var id struct{ Identity string }
	if err := h.weftJSON(&id, "id"); err != nil {
		return nil, "", err
	}
	return h, id.Identity, h.start()
}

func (s *story) introduce() (err error) {
	if s.a, s.aliceID, err = s.device("a", s.key, s.secret); err != nil {
		return err
	}
	if s.b, s.bobID, err = s.device("b", s.key, s.secret); err != nil {
		return err
	}
	for _, h := range []*home{s.a, s.b} {
		if _, err := h.weft("inbox", "setup"); err != nil {
			return err
		}
	}
	s.say("A is %s", s.aliceID)
	s.say("B is %s", s.bobID)
	return s.b.stop()
}

func (s *story) importData() error {
	if _, err := s.a.weft("db", "create", "atlas"); err != nil {
		return err
	}
	if _, err := s.a.weft("collection", "create", "atlas", "cities"); err != nil {
		return err
	}
	if _, err := s.a.weft("index", "create", "atlas", "cities", "country"); err != nil {
		return err
	}
	start := time.Now()
	if _, err := s.a.weft("import", "atlas", "cities", s.data); err != nil {
		return err
	}
	took := time.Since(start)
	lines, err := readLines(s.data)
	if err != nil {
		return err
	}
	for _, line := range lines {
		s.jsonl += int64(len(line)) + 1
	}
	s.docs = int64(len(lines))
	s.plants = needlesOf(lines)
	s.say("%d documents, %s of JSONL, %.0f documents/s; A takes %s of memory",
		s.docs, size(s.jsonl), float64(s.docs)/took.Seconds(), size(s.a.rss()))
	count, err := s.count(s.a)
	if err != nil {
		return err
	}
	return s.equal("documents on A", count, s.docs)
}

func (s *story) count(h *home) (int64, error) {
	out, err := h.weft("count", "atlas", "cities")
	if err != nil {
		return 0, err
	}
	var reply any
	if err := json.Unmarshal(out, &reply); err != nil {
		return 0, err
	}
	switch r := reply.(type) {
	case float64:
		return int64(r), nil
	case map[string]any:
		if n, ok := r["count"].(float64); ok {
			return int64(n), nil
		}
	}
	return 0, fmt.Errorf("count printed %q", out)
}

// publish pushes the folder, waits until the relay has all, sends the invite
// and stops A.
func (s *story) publish() error {
	if err := s.makeFolder(); err != nil {
		return err
	}
	if _, err := s.a.weft("bucket", "create", "album", "--db", "atlas"); err != nil {
		return err
	}
	if _, err := s.a.weft("bucket", "push", "album", s.folder); err != nil {
		return err
	}
	var invite struct{ URL string }
	if err := s.a.weftJSON(&invite, "db", "invite", "atlas", "--role", "writer", "--expires", "1h", "--uses", "1"); err != nil {
		return err
	}
	if _, err := s.a.weftInput(strings.NewReader(invite.URL), "inbox", "send", s.bobID+"@"+s.relayAddr, "-"); err != nil {
		return err
	}
	if err := s.waitIdentical(s.a); err != nil {
		return err
	}
	s.say("the relay holds %s on disk for A", size(diskUse(s.relay.path)))
	return s.a.stop()
}

// makeFolder copies the files, and adds one of several chunks and one with a name that
// is not ASCII.
func (s *story) makeFolder() error {
	s.folder = filepath.Join(s.dir, "folder")
	if err := os.CopyFS(s.folder, os.DirFS(s.files)); err != nil {
		return err
	}
	big := make([]byte, 3<<20+17)
	r := rand.NewChaCha8([32]byte{7})
	if _, err := r.Read(big); err != nil {
		return err
	}
	s.plants = append(s.plants, big[1000:1032], big[2<<20:2<<20+32])
	note := []byte("Unicode travels too: Sant Julià de Lòria, 東京, Ærøskøbing.\n")
	return errors.Join(
		os.WriteFile(filepath.Join(s.folder, "notes", "2026", "Ærø – notes.txt"), note, 0o644),
		os.WriteFile(filepath.Join(s.folder, "photo.raw"), big, 0o644))
}

func (s *story) waitIdentical(h *home) error {
	_, err := h.weft("db", "status", "atlas", "--wait", "identical", "--timeout", "120s")
	return err
}

func (s *story) catchUp() error {
	if err := s.b.start(); err != nil {
		return err
	}
	url, err := s.readInvite()
	if err != nil {
		return err
	}
	start := time.Now()
	if _, err := s.b.weftInput(strings.NewReader(url), "db", "join", "-", "--name", "atlas"); err != nil {
		return err
	}
	if err := s.waitIdentical(s.b); err != nil {
		return err
	}
	took := time.Since(start)
	var info struct{ Bytes int64 }
	if err := s.b.weftJSON(&info, "db", "info", "atlas"); err != nil {
		return err
	}
	s.say("joined and caught up in %.2f s, %.0f documents/s, %s of records for %s of JSONL",
		took.Seconds(), float64(s.docs)/took.Seconds(), size(info.Bytes), size(s.jsonl))
	return nil
}

// readInvite finds A's message in B's inbox and returns its text.
func (s *story) readInvite() (string, error) {
	out, err := s.b.weft("inbox", "ls", "--wait", "1", "--timeout", "60s")
	if err != nil {
		return "", err
	}
	for line := range bytes.Lines(out) {
		var m struct{ ID, From, Text string }
		if err := json.Unmarshal(line, &m); err != nil {
			return "", fmt.Errorf("inbox ls: %w in %q", err, line)
		}
		if m.From != s.aliceID {
			continue
		}
		if err := s.b.weftJSON(&m, "inbox", "read", m.ID); err != nil {
			return "", err
		}
		if err := s.equal("sender of the message", m.From, s.aliceID); err != nil {
			return "", err
		}
		return m.Text, nil
	}
	return "", fmt.Errorf("no message from A among %q", out)
}

// An answer is what a device says of the database and the bucket.
type answer struct {
	hash    string
	count   int64
	results []string
	root    string
	files   string // hash over the pulled tree
}

func (s *story) ask(h *home, queries []string) (answer, error) {
	var a answer
	var info struct{ Hash string }
	err := h.weftJSON(&info, "db", "info", "atlas")
	if err != nil {
		return a, err
	}
	a.hash = info.Hash
	if a.count, err = s.count(h); err != nil {
		return a, err
	}
	for _, q := range queries {
		out, err := h.weft("run", "atlas", q)
		if err != nil {
			return a, err
		}
		a.results = append(a.results, fmt.Sprintf("%s\n%x", q, sha256.Sum256(out)))
		if !bytes.Contains(out, []byte("firstBatch")) {
			return a, fmt.Errorf("%s: got %s", q, shorten(string(out)))
		}
	}
	var root struct{ CID string }
	if err := h.weftJSON(&root, "bucket", "root", "album"); err != nil {
		return a, err
	}
	a.root = root.CID
	dir := filepath.Join(s.dir, "pulled-"+h.name)
	if err := os.RemoveAll(dir); err != nil {
		return a, err
	}
	if _, err := h.weft("bucket", "pull", "album", dir); err != nil {
		return a, err
	}
	a.files, err = treeHash(dir)
	return a, err
}

var demoQueries = []string{
	`{"find":"cities","filter":{"country":"AD"},"sort":{"population":-1},"batchSize":1000}`,
	`{"find":"cities","filter":{"population":{"$gte":1000000}},"sort":{"population":-1,"_id":1},"limit":20,"batchSize":1000}`,
	`{"find":"cities","filter":{"$or":[{"country":"IS"},{"country":{"$in":["LI","MC"]}}],"feature":{"$ne":"PPLX"}},"sort":{"name":1,"_id":1},"batchSize":1000}`,
	`{"find":"cities","filter":{"altNames":"Tokyo"},"sort":{"_id":1},"batchSize":1000}`,
}

func (s *story) compare() error {
	onB, err := s.ask(s.b, demoQueries)
	if err != nil {
		return err
	}
	if err := s.b.stop(); err != nil {
		return err
	}
	// A answers for itself, alone: the relay is not reached by a closed home.
	onA, err := s.ask(s.a, demoQueries)
	if err != nil {
		return err
	}
	pushed, err := treeHash(s.folder)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"state hash", onB.hash, onA.hash},
		{"document count", onB.count, s.docs},
		{"root CID", onB.root, onA.root},
		{"file bytes", onB.files, pushed},
		{"query results", onB.results, onA.results},
	} {
		if err := s.equal(c.what, c.got, c.want); err != nil {
			return err
		}
	}
	s.say("state hash %s…, %d documents, %d queries, root %s", onB.hash[:16], onB.count, len(onB.results), onB.root)
	return s.b.start()
}

func (s *story) returnToA() error {
	if _, err := s.b.weft("insert", "atlas", "cities", `{"_id":"weft-1","name":"Written by B while A was down","country":"ZZ","population":7}`); err != nil {
		return err
	}
	if _, err := s.b.weft("update", "atlas", "cities", `{"country":"AD"}`, `{"$inc":{"population":1000}}`); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.folder, "from-b.txt"), []byte("B adds a file while A is down\n"), 0o644); err != nil {
		return err
	}
	if _, err := s.b.weft("bucket", "push", "album", s.folder); err != nil {
		return err
	}
	if err := s.waitIdentical(s.b); err != nil {
		return err
	}
	if err := s.b.stop(); err != nil {
		return err
	}
	if err := s.a.start(); err != nil {
		return err
	}
	if err := s.waitIdentical(s.a); err != nil {
		return err
	}
	if err := s.a.stop(); err != nil {
		return err
	}
	queries := append(demoQueries, `{"find":"cities","filter":{"country":"ZZ"},"batchSize":1000}`)
	onA, err := s.ask(s.a, queries)
	if err != nil {
		return err
	}
	onB, err := s.ask(s.b, queries)
	if err != nil {
		return err
	}
	if err := s.equal("documents on A after B wrote", onA.count, s.docs+1); err != nil {
		return err
	}
	return s.equal("everything, after B wrote", onA, onB)
}

// refuse lets two strangers try the relay.
func (s *story) refuse() error {
	key, secret, err := s.createKey("to be revoked")
	if err != nil {
		return err
	}
	before, err := s.kept()
	if err != nil {
		return err
	}
	if _, err := s.relay.weft("key", "revoke", key); err != nil {
		return err
	}
	for _, c := range []struct{ name, key, secret, code string }{
		{"c", key, secret, "key_revoked"},
		{"d", "", "", "no_credential"},
	} {
		h, _, err := s.device(c.name, c.key, c.secret)
		if err != nil {
			return err
		}
		if err := s.refused(h, c.code); err != nil {
			return err
		}
		if err := h.stop(); err != nil {
			return err
		}
	}
	after, err := s.kept()
	if err != nil {
		return err
	}
	return s.equal("threads and bytes of blobs that the relay keeps, after strangers tried", after, before)
}

// kept says what the relay keeps.
func (s *story) kept() (string, error) {
	var status struct{ Threads int }
	err := s.relay.weftJSON(&status, "status")
	if err == nil && status.Threads == 0 {
		err = errors.New("the relay's status counts no threads")
	}
	return fmt.Sprintf("%d threads, %d bytes", status.Threads, diskUse(filepath.Join(s.relay.path, "blobs"))), err
}

func (s *story) refused(h *home, code string) error {
	if _, err := h.weft("db", "create", "sneak"); err != nil {
		return err
	}
	if _, err := h.weft("insert", "sneak", "things", `{"_id":1,"what":"should never reach the relay"}`); err != nil {
		return err
	}
	var status struct {
		Peers []struct{ Role, State, Code, Reason string }
	}
	if err := h.weftJSON(&status, "db", "status", "sneak", "--wait", "refused", "--timeout", "60s"); err != nil {
		return err
	}
	for _, p := range status.Peers {
		if p.Role == "relay" {
			s.say("%s: %s: %s", h.name, p.State, p.Reason)
			if err := s.equal(h.name+"'s state", p.State, "refused"); err != nil {
				return err
			}
			if !strings.Contains(p.Reason, code) && p.Code != code {
				return fmt.Errorf("%s: got reason %q, want code %s", h.name, p.Reason, code)
			}
			s.checks++
			return nil
		}
	}
	return fmt.Errorf("%s: status lists no relay: %+v", h.name, status)
}

func (s *story) searchRelay() error {
	if err := s.relay.stop(); err != nil {
		return err
	}
	s.needles = append(s.plants, []byte("Written by B while A was down"), []byte("quick brown fox"),
		[]byte("from-b.txt"), []byte("photo.raw"), []byte("should never reach"), []byte("Unicode travels too"))
	found, searched, err := search(s.relay.path, s.needles)
	if err != nil {
		return err
	}
	if err := s.equal("plaintext found on the relay", found, []string(nil)); err != nil {
		return err
	}
	// The same search must find them where they may be, or it proves nothing.
	control, _, err := search(s.a.path, s.needles)
	if err != nil {
		return err
	}
	if len(control) < len(s.needles)/2 {
		return fmt.Errorf("the search finds only %d of %d needles on A's own disk: it cannot be trusted", len(control), len(s.needles))
	}
	s.checks++
	s.say("%d needles: none in the relay's %s, %d on A's own disk", len(s.needles), size(searched), len(control))
	return nil
}

// treeHash hashes the names and the bytes of the files under dir.
func treeHash(dir string) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		p, err := os.ReadFile(filepath.Join(dir, path))
		fmt.Fprintf(h, "%q %d\n%s", path, len(p), p)
		return err
	})
	return fmt.Sprintf("%x", h.Sum(nil)), err
}
