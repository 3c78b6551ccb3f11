package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/rpc"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"weft": main}) }

// TestScripts runs the stories of testdata/script. Beside testscript's own
// commands they have
//
//	home NAME            make NAME the home of what follows
//	daemon NAME [ARG…]   run the daemon of home NAME; sets NAME_addr, NAME_listen, NAME_api
//	                     and NAME_hub
//	end NAME             end it and wait for it
//	let VAR FIELD        set VAR to a field of the JSON that was printed last
//	same FIELD A B       a field of two JSON files is the same
//	private FILE…        only its owner can read these files
//	cut TO FROM N        TO is the first N bytes of FROM
//	sub FROM TO OLD NEW  TO is FROM with NEW for OLD
//	until TEXT CMD…      run a command until it says something that matches TEXT
//	flip STORE           flip a bit in the first record of each MANIFEST of a store
func TestScripts(t *testing.T) { testscript.Run(t, scripts("testdata/script")) }

// scripts are the stories in a folder.
func scripts(dir string) testscript.Params {
	return testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			e.Setenv("WEFT_HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("HOME", e.WorkDir)
			sample, err := filepath.Abs("../../testdata")
			e.Setenv("TESTDATA", sample)
			e.Values[daemonsKey{}] = daemons{}
			return err
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"home": cmdHome, "daemon": cmdDaemon, "end": cmdEnd, "let": cmdLet, "same": cmdSame, "private": cmdPrivate, "cut": cmdCut, "sub": cmdSub, "flip": cmdFlip, "until": cmdUntil,
		},
	}
}

type (
	daemonsKey struct{}
	daemons    map[string]*daemon
)

// A daemon is a weft daemon that a script runs.
type daemon struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
}

func want(ts *testscript.TestScript, neg bool, args []string, least int, usage string) {
	if neg || len(args) < least {
		ts.Fatalf("usage: %s", usage)
	}
}

func cmdHome(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "home NAME")
	ts.Setenv("WEFT_HOME", ts.MkAbs(args[0]))
}

func cmdDaemon(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "daemon NAME [ARG…]")
	name := args[0]
	first := []string{"daemon", "--init"}
	if len(args) > 1 && args[1] == "dev" {
		first, args = []string{"dev"}, args[1:]
	}
	bin, err := exec.LookPath(filepath.Join(strings.Split(ts.Getenv("PATH"), string(os.PathListSeparator))[0], "weft"))
	ts.Check(err)
	d := &daemon{cmd: exec.Command(bin, append(append(first,
		"--json", "--mdns=false", "--api", "127.0.0.1:0", "--p2p", "/ip4/127.0.0.1/tcp/0", "--p2p", "/ip4/127.0.0.1/udp/0/quic-v1",
	), args[1:]...)...)}
	d.cmd.Env = []string{"WEFT_HOME=" + ts.MkAbs(name), "HOME=" + ts.Getenv("WORK"), "PATH=" + ts.Getenv("PATH"), "WEFT_PASSPHRASE=" + ts.Getenv("WEFT_PASSPHRASE")}
	d.cmd.Stderr = &d.stderr
	out, err := d.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(d.cmd.Start())
	ts.Value(daemonsKey{}).(daemons)[name] = d
	ts.Defer(func() { d.end(ts, name) })
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		ts.Fatalf("daemon %s did not get ready: %v\n%s", name, err, &d.stderr)
	}
	var ready readyOutput
	ts.Check(json.Unmarshal(line, &ready))
	for _, a := range ready.P2P {
		if strings.Contains(a, "/tcp/") {
			ts.Setenv(name+"_addr", a)
			ts.Setenv(name+"_listen", a[:strings.Index(a, "/p2p/")])
		}
	}
	ts.Setenv(name+"_api", ready.API)
	ts.Setenv(name+"_key", ready.Key)
	ts.Setenv(name+"_hub", ready.Hub)
}

func cmdEnd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "end NAME")
	d := ts.Value(daemonsKey{}).(daemons)[args[0]]
	if d == nil {
		ts.Fatalf("no daemon %s runs", args[0])
	}
	d.end(ts, args[0])
}

// end tells a daemon to end, waits for it, and wants it to end well.
func (d *daemon) end(ts *testscript.TestScript, name string) {
	if d.cmd == nil {
		return
	}
	cmd := d.cmd
	d.cmd = nil
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended: Wait tells
	late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	err := cmd.Wait()
	if d.stderr.Len() > 0 {
		ts.Logf("daemon %s:\n%s", name, &d.stderr)
	}
	if err != nil {
		ts.Fatalf("daemon %s ended with %v", name, err)
	}
}

// field returns a field of a JSON object; "a.0.b" goes deeper.
func field(text, path string) (string, error) {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return "", fmt.Errorf("%w in %q", err, text)
	}
	for _, step := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[step]
		case []any:
			var i int
			if _, err := fmt.Sscan(step, &i); err != nil || i >= len(x) {
				return "", fmt.Errorf("no %s in %q", path, text)
			}
			v = x[i]
		default:
			return "", fmt.Errorf("no %s in %q", path, text)
		}
	}
	if v == nil {
		return "", fmt.Errorf("no %s in %q", path, text)
	}
	return fmt.Sprint(v), nil
}

func cmdLet(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "let VAR FIELD")
	v, err := field(ts.ReadFile("stdout"), args[1])
	ts.Check(err)
	ts.Setenv(args[0], v)
}

func cmdSame(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, false, args, 3, "same FIELD A B")
	x, err := field(ts.ReadFile(args[1]), args[0])
	ts.Check(err)
	y, err := field(ts.ReadFile(args[2]), args[0])
	ts.Check(err)
	if (x == y) == neg {
		ts.Fatalf("%s: %s in %s, %s in %s", args[0], x, args[1], y, args[2])
	}
}

func cmdPrivate(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "private FILE…")
	for _, name := range args {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if info.Mode().Perm()&0o077 != 0 {
			ts.Fatalf("%s has mode %v", name, info.Mode())
		}
	}
}

func cmdCut(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3, "cut TO FROM N")
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	b, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b[:min(n, len(b))], 0o600))
}

func cmdSub(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 4, "sub FROM TO OLD NEW")
	text := strings.ReplaceAll(ts.ReadFile(args[0]), args[2], args[3])
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}

// A watch whose daemon ends says so and fails.
func TestWatchEnds(t *testing.T) {
	home := t.TempDir()
	n, err := node.Open(t.Context(), node.Config{Home: home, Surfaces: []node.Surface{rpc.Surface("127.0.0.1:0")}})
	if err != nil {
		t.Fatal(err)
	}
	weft := func(args ...string) {
		if run(t.Context(), append(args, "--home", home), nil, io.Discard, t.Output()) != 0 {
			t.Fatal(args)
		}
	}
	weft("db", "create", "shop")
	d, err := n.Database(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.Watch(t.Context(), db.WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	token, err := w.Token()
	if w.Close(); err != nil {
		t.Fatal(err)
	}
	weft("insert", "shop", "things", "{}")
	seen, out := io.Pipe()
	var complaint bytes.Buffer
	status := make(chan int, 1)
	go func() {
		status <- run(t.Context(), []string{"watch", "shop", "--resume", token, "--home", home}, nil, out, &complaint)
		_ = out.Close()
	}()
	lines := bufio.NewReader(seen)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("got %q after the node's end, %v", rest, err)
	}
	if got := <-status; got != 1 || !strings.HasPrefix(complaint.String(), "weft: the node ended during this command") {
		t.Errorf("got %d and %q", got, &complaint)
	}
}

// cmdFlip damages what a store cannot be opened without.
func cmdFlip(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "flip STORE|BLOBS")
	names, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "MANIFEST*"))
	ts.Check(err)
	if len(names) == 0 { // of a store there is no other file below
		names, err = filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*", "*", "*"))
		ts.Check(err)
		names = names[:min(len(names), 1)]
	}
	if len(names) == 0 {
		ts.Fatalf("%s has no MANIFEST and no blob", args[0])
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		ts.Check(err)
		b[12] ^= 4
		ts.Check(os.WriteFile(name, b, 0o600))
	}
}

// cmdUntil waits for what nothing else in a story tells the time of.
func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "until TEXT CMD…")
	text, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		_ = ts.Exec(args[1], args[2:]...) // what it says counts
		if text.MatchString(ts.ReadFile("stdout") + ts.ReadFile("stderr")) {
			return
		}
	}
	ts.Fatalf("%q says nothing like %q:\n%s%s", args[1:], args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
}
