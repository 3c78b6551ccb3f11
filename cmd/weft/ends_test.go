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
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/rpc"
)

// command returns weft as a process of its own: by that name, the test is the
// command, see TestMain.
func command(t *testing.T, home string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "weft")
	if err := os.Symlink(self, bin); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), "WEFT_HOME="+home)
	return cmd
}

// A daemon ends cleanly on TERM and on a hangup, and not on one that nohup had
// ignored.
func TestSignals(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	args := []string{"daemon", "--init", "--json", "--mdns=false", "--api", "127.0.0.1:0", "--p2p", "/ip4/127.0.0.1/tcp/0"}
	for _, c := range []struct {
		name  string
		nohup bool
		sent  []syscall.Signal
	}{
		{"term", false, []syscall.Signal{syscall.SIGTERM}},
		{"hangup", false, []syscall.Signal{syscall.SIGHUP}},
		{"interrupt", false, []syscall.Signal{syscall.SIGINT}},
		{"hangups", false, []syscall.Signal{syscall.SIGHUP, syscall.SIGHUP, syscall.SIGTERM}},
		{"nohup", true, []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := command(t, home, args...)
			if c.nohup {
				cmd.Args = append([]string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`}, cmd.Args...)
				cmd.Path = "/bin/sh"
			}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cmd.Process.Kill() }() // if it did not end
			line, err := bufio.NewReader(out).ReadBytes('\n')
			var ready readyOutput
			if err == nil {
				err = json.Unmarshal(line, &ready)
			}
			if err != nil {
				t.Fatalf("not ready: %v: %s", err, &stderr)
			}
			for i, s := range c.sent {
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
				if c.nohup && i == 0 && run(t.Context(), []string{"status", "--home", home}, nil, io.Discard, t.Output()) != 0 {
					t.Error("a hangup that was ignored ended it")
				}
			}
			if err := cmd.Wait(); err != nil || !onlyInfo(stderr.String()) {
				t.Errorf("it ended with %v: %s", err, &stderr)
			}
			if _, err := node.ReadDaemon(home); err == nil {
				t.Error("the home still says that a daemon runs")
			}
		})
	}
}

// onlyInfo reports whether a log has lines, and none of a fault.
func onlyInfo(log string) bool {
	for line := range strings.Lines(log) {
		if !strings.Contains(line, " level=INFO ") {
			return false
		}
	}
	return strings.Contains(log, "msg=started") && strings.Contains(log, "msg=ending")
}

// A command whose reader went away ends quietly, with the status that a shell
// gives such a program, and leaves the home closed.
func TestBrokenPipe(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	weft := func(in string, args ...string) {
		t.Helper()
		if run(t.Context(), append(args, "--home", home), strings.NewReader(in), io.Discard, t.Output()) != 0 {
			t.Fatal(args)
		}
	}
	weft("", "init")
	weft("", "db", "create", "shop")
	weft(strings.Repeat(fmt.Sprintf("{\"text\":%q}\n", strings.Repeat("weft ", 2000)), 100), "import", "shop", "things", "-")
	for _, args := range [][]string{{"find", "shop", "things"}, {"export", "shop"}} {
		cmd := command(t, home, args...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			_, err = out.Read(make([]byte, 1))
		}
		if err == nil {
			err = out.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != statusBrokenPipe || stderr.Len() > 0 {
			t.Errorf("%s: got %s: %s", args[0], cmd.ProcessState, &stderr)
		}
	}
}

// What a node refuses before it has read the input ends with the reason, whatever
// the size of the input, by a daemon and without one.
func TestRefusedEarly(t *testing.T) {
	home, dir := filepath.Join(t.TempDir(), "home"), t.TempDir()
	docs := filepath.Join(dir, "docs.jsonl")
	lines := strings.Repeat(fmt.Sprintf("{\"text\":%q}\n", strings.Repeat("weft ", 200)), 10_000)
	folder := filepath.Join(dir, "folder")
	for _, err := range []error{
		os.WriteFile(docs, []byte(lines), 0o600), os.Mkdir(folder, 0o700),
		os.WriteFile(filepath.Join(folder, "a"), []byte("a"), 0o600), os.WriteFile(filepath.Join(folder, "b"), make([]byte, 3_000_000), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	try := func(args ...string) (int, string) {
		var out bytes.Buffer
		return run(t.Context(), append(args, "--home", home), nil, &out, &out), out.String()
	}
	for _, args := range [][]string{
		{"init"}, {"db", "create", "shop"}, {"collection", "create", "shop", "strict", "--schema", `{"type":"object","required":["zz"]}`},
	} {
		if status, out := try(args...); status != 0 {
			t.Fatal(args, out)
		}
	}
	check := func(t *testing.T) {
		for _, c := range []struct {
			says string
			args []string
		}{
			{`no database is named "nowhere"`, []string{"import", "nowhere", "things", docs}},
			{`bad name`, []string{"import", "shop", "bad name", docs}},
			{`system.x`, []string{"import", "shop", "system.x", docs}},
			{`missing required field "zz"`, []string{"import", "shop", "strict", docs}},
			{`no bucket is named "nowhere"`, []string{"bucket", "push", "nowhere", folder}},
		} {
			for range 3 {
				if status, out := try(c.args...); status != 1 || !strings.Contains(out, c.says) {
					t.Errorf("%q: got %d and %s, want %s", c.args, status, out, c.says)
				}
			}
		}
	}
	t.Run("alone", check)
	n, err := node.Open(t.Context(), node.Config{Home: home, Surfaces: []node.Surface{rpc.Surface("127.0.0.1:0")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("daemon", check)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

// A command that waits for more of standard input ends on TERM, and gives the home back.
func TestInputThatStaysAwayHoldsNothing(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	for _, args := range [][]string{{"init"}, {"db", "create", "m"}} {
		if out, err := command(t, home, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s, %v", out, err)
		}
	}
	cmd := command(t, home, "run", "m", "-")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }() // if it did not end
	if _, err := io.WriteString(in, "{ping: 1}\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, `"ok":1`) {
		t.Fatalf("got %q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("it ended with %v, want the exit status 1", err)
	}
	if out, err := command(t, home, "db", "ls").CombinedOutput(); err != nil {
		t.Errorf("the next command: %s, %v", out, err)
	}
}

// What comes from a pipe that stays open is stored, and its _ids are told.
func TestPipeThatStaysOpen(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	run := func(args ...string) string {
		t.Helper()
		out, err := command(t, home, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %s, %v", args, out, err)
		}
		return strings.TrimSpace(string(out))
	}
	begin := func(args ...string) (*exec.Cmd, io.WriteCloser, *bufio.Reader) {
		t.Helper()
		cmd := command(t, home, args...)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() }) // if it did not end
		return cmd, in, bufio.NewReader(out)
	}
	run("init")
	run("db", "create", "m")
	_, _, ready := begin("daemon", "--json", "--mdns=false", "--api", "127.0.0.1:0", "--p2p", "/ip4/127.0.0.1/tcp/0")
	if _, err := ready.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	write := func(w io.Writer, text string) {
		t.Helper()
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	cmd, in, ids := begin("insert", "m", "c", "-")
	for _, id := range []string{"1", "2"} {
		write(in, "{_id: "+id+"}\n")
		if line, err := ids.ReadString('\n'); err != nil || strings.TrimSpace(line) != id {
			t.Fatalf("got %q, %v, want %s", line, err, id)
		}
	}
	write(in, "{_id: 3}\n{_id: ")
	if line, err := ids.ReadString('\n'); err != nil || strings.TrimSpace(line) != "3" {
		t.Fatalf("got %q, %v, want 3: half a line is none", line, err)
	}
	write(in, "4}\n{_id: 1}\n{_id: 5}\n")
	_ = in.Close()
	if rest, err := io.ReadAll(ids); err != nil || strings.Contains(string(rest), "1") {
		t.Fatalf("got %q, %v", rest, err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("an _id that is there is no error")
	}
	for _, c := range []struct {
		args  []string
		first string
	}{
		{[]string{"import", "m", "i", "-", "--new-ids"}, "{\"_id\": 1}\n"},
		{[]string{"import", "m", "-", "--new-ids"}, "{\"weft\": \"export\", \"version\": 1, \"database\": \"m\"}\n{\"collection\": \"j\", \"document\": {\"_id\": 1}}\n"},
	} {
		cmd, in, _ := begin(c.args...)
		write(in, c.first)
		coll := "i"
		if len(c.args) == 4 {
			coll = "j"
		}
		for end := time.Now().Add(time.Minute); ; {
			if n, err := command(t, home, "count", "m", coll).Output(); err == nil && strings.TrimSpace(string(n)) == "1" {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%q: nothing is stored", c.args)
			}
		}
		_ = in.Close()
		_ = cmd.Wait() // an export that lacks its end is an error
	}
}
