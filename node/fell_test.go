package node_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/rpc"
)

// A daemon that follows one which was killed, or which its engine ended, says so once, also
// when commands opened the home in between; one that follows a clean end says nothing.
func TestNextDaemonTellsOfOneThatFell(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	start := func(daemon bool) (told bool) {
		var out bytes.Buffer
		c := node.Config{Home: home, Log: slog.New(slog.NewTextHandler(&out, nil))}
		if daemon {
			c.Surfaces = []node.Surface{rpc.Surface("127.0.0.1:0")}
		}
		n, err := node.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(out.String(), "the last daemon was ended from outside") && strings.Contains(out.String(), "process=4711")
	}
	for i, daemon := range []bool{true, false, true} {
		if start(daemon) {
			t.Fatalf("start %d tells of a daemon that fell; none did", i)
		}
	}
	if err := os.WriteFile(filepath.Join(home, "daemon.json"), fmt.Appendf(nil, "%-255s\n", `{"api":"127.0.0.1:1","pid":4711}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if start(false) {
		t.Fatal("a command tells it, whose log nobody reads")
	}
	if !start(true) {
		t.Fatal("the next daemon does not tell of the one that fell")
	}
	if start(true) {
		t.Fatal("it is told twice")
	}
}
