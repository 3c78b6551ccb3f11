//go:build slow

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	kills       = 100 // daemons that are killed
	writers     = 4   // concurrent writers in each life
	perInsert   = 20  // documents of one insert, which are there together or not at all
	killsBounds = 10 * time.Minute
)

// A daemon is killed a hundred times under concurrent writes. Every
// acknowledged insert is there after reopening, no insert is there in part, and
// a replica that folds the same records from the start has the same hash.
func TestSlowKillLoop(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), killsBounds)
	defer cancel()
	k := &killer{t: t, ctx: ctx, bin: filepath.Join(t.TempDir(), "weft"), home: t.TempDir(), acked: map[string]bool{}}
	if out, err := exec.Command("go", "build", "-o", k.bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	k.run(k.home, "init")
	k.run(k.home, "db", "create", "kill")
	k.run(k.home, "collection", "create", "kill", "things")
	k.run(k.home, "index", "create", "kill", "things", "life")

	for life := range kills {
		k.live(life)
	}
	k.check()
	if len(k.acked) < kills {
		t.Errorf("got %d acknowledged inserts in %d lives, want at least one a life", len(k.acked), kills)
	}
	k.checkReplica()
	t.Logf("%d kills, %d acknowledged inserts of %d documents", kills, len(k.acked), perInsert)
}

// A killer drives one home through many lives.
type killer struct {
	t    *testing.T
	ctx  context.Context //nolint:containedctx // the test's
	bin  string
	home string

	mu    sync.Mutex      // guards acked
	acked map[string]bool // tags of acknowledged inserts
}

func (k *killer) command(home string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(k.ctx, k.bin, append(args, "--json")...)
	cmd.Env = append(os.Environ(), "WEFT_HOME="+home)
	return cmd
}

func (k *killer) run(home string, args ...string) []byte {
	k.t.Helper()
	cmd := k.command(home, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		k.t.Fatalf("weft %s: %v: %s", strings.Join(args, " "), err, &stderr)
	}
	return out
}

// A ready line is what a daemon prints when it is ready.
type ready struct {
	P2P []string
	API string
}

// daemon starts a daemon and returns it when it is ready.
func (k *killer) daemon(home string, args ...string) (*exec.Cmd, ready) {
	k.t.Helper()
	cmd := k.command(home, append([]string{
		"daemon", "--mdns=false", "--api", "127.0.0.1:0", "--p2p", "/ip4/127.0.0.1/tcp/0",
	}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var r ready
	if err == nil {
		err = json.Unmarshal(line, &r)
	}
	if err != nil {
		k.t.Fatalf("daemon: %v: %s%s", err, line, &stderr)
	}
	return cmd, r
}

// live runs one daemon until it is killed, with writers that write until then.
func (k *killer) live(life int) {
	k.t.Helper()
	daemon, r := k.daemon(k.home)
	var wg sync.WaitGroup
	enough := make(chan struct{}, writers*1000)
	for w := range writers {
		wg.Go(func() { k.write(r.API, fmt.Sprintf("%d-%d", life, w), life, enough) })
	}
	// Killed after some acknowledgements, so that a kill always meets writes.
	for range 1 + rand.IntN(12) {
		select {
		case <-enough:
		case <-k.ctx.Done():
			k.t.Fatal("writers made no progress")
		}
	}
	if err := daemon.Process.Kill(); err != nil {
		k.t.Fatal(err)
	}
	_ = daemon.Wait()
	wg.Wait()
}

// write sends inserts to one `weft run` and notes what it acknowledges, until
// the daemon is gone. It names the daemon: without, it would open the home itself
// once the daemon is killed.
func (k *killer) write(api, tag string, life int, progress chan<- struct{}) {
	cmd := k.command(k.home, "run", "kill", "-", "--api", api)
	in, err := cmd.StdinPipe()
	if err != nil {
		return
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return
	}
	if err := cmd.Start(); err != nil {
		return
	}
	defer func() { _ = in.Close(); _, _ = io.Copy(io.Discard, out); _ = cmd.Wait() }()
	replies := bufio.NewReader(out)
	for n := 0; ; n++ {
		name := fmt.Sprintf("%s-%d", tag, n)
		if _, err := io.WriteString(in, insertOf(name, life)+"\n"); err != nil {
			return
		}
		line, err := replies.ReadBytes('\n')
		var reply struct{ OK, N float64 }
		if err != nil || json.Unmarshal(line, &reply) != nil || reply.OK != 1 || reply.N != perInsert {
			return // not acknowledged
		}
		k.mu.Lock()
		k.acked[name] = true
		k.mu.Unlock()
		select {
		case progress <- struct{}{}:
		default:
		}
	}
}

func insertOf(tag string, life int) string {
	var b strings.Builder
	b.WriteString(`{"insert":"things","documents":[`)
	for i := range perInsert {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"_id":"%s/%02d","tag":%q,"life":%d}`, tag, i, tag, life)
	}
	b.WriteString(`]}`)
	return b.String()
}

// check counts the documents of each insert.
func (k *killer) check() {
	k.t.Helper()
	found := map[string]int{}
	for line := range bytes.Lines(k.run(k.home, "find", "kill", "things")) {
		var doc struct{ Tag string }
		if err := json.Unmarshal(line, &doc); err != nil {
			k.t.Fatalf("find printed %q: %v", line, err)
		}
		found[doc.Tag]++
	}
	for tag, n := range found {
		if n != perInsert {
			k.t.Errorf("insert %s: got %d documents, want %d or none", tag, n, perInsert)
		}
	}
	for tag := range k.acked {
		if found[tag] == 0 {
			k.t.Errorf("insert %s was acknowledged and is gone", tag)
		}
	}
}

// checkReplica lets a second device fold the same records from the start.
func (k *killer) checkReplica() {
	k.t.Helper()
	k.daemon(k.home)
	var invite struct{ URL string }
	if err := json.Unmarshal(k.run(k.home, "db", "invite", "kill"), &invite); err != nil {
		k.t.Fatal(err)
	}
	other := k.t.TempDir()
	k.run(other, "init")
	k.daemon(other)
	k.run(other, "db", "join", invite.URL, "--name", "kill")
	k.run(other, "db", "status", "kill", "--wait", "identical", "--timeout", "60s")
	hash := func(home string) string {
		var info struct{ Hash string }
		if err := json.Unmarshal(k.run(home, "db", "info", "kill"), &info); err != nil || info.Hash == "" {
			k.t.Fatalf("db info: %v, hash %q", err, info.Hash)
		}
		return info.Hash
	}
	if got, want := hash(other), hash(k.home); got != want {
		k.t.Errorf("state hash: a new replica has %s, the killed one %s", got, want)
	}
}
