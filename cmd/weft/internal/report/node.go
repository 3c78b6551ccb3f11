// Package report is what commands tell of a node, of its databases and of who takes part in
// them: for programs as values that become JSON, for people as text. It reads what the node has
// answered and asks for nothing itself.
package report

import (
	"fmt"
	"io"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/cmd/weft/internal/words"
)

// A Node is what a node holds and to whom it is connected.
type Node struct {
	Identity  string   `json:"identity"`
	Peer      string   `json:"peer"`
	P2P       []string `json:"p2p"`
	API       string   `json:"api"`
	Relay     bool     `json:"relay"`
	Version   string   `json:"version"`
	Home      string   `json:"home"`
	Daemon    bool     `json:"daemon"`
	Databases uint32   `json:"databases"`
	Loaded    uint32   `json:"loaded"`
	Threads   uint32   `json:"threads"`
	Peers     uint32   `json:"peers"`
	Relays    uint32   `json:"relays"`
	Bytes     int64    `json:"bytes"`
	Engine    string   `json:"engine"`
	Full      bool     `json:"full"`
	Damage    []damage `json:"damage"`
	Lost      []damage `json:"lost"`
	Checked   *checked `json:"checked"`
}

// NodeOf reads the status of a node.
func NodeOf(m *weftv1.StatusResponse) Node {
	return Node{
		m.GetIdentity(), m.GetPeer(), words.List(m.GetAddrs()), m.GetApi(), m.GetRelay(), m.GetVersion(), m.GetHome(), m.GetApi() != "",
		m.GetDatabases(), m.GetLoaded(), m.GetThreads(), m.GetPeers(), m.GetRelays(), m.GetBytes(),
		m.GetEngine(), m.GetFull(), damagesOf(m.GetDamage()), damagesOf(m.GetLost()), checkedOf(m),
	}
}

// Write tells of it, a line for each part.
func (n Node) Write(w io.Writer) {
	daemon := "not running"
	if n.Daemon {
		daemon = "running, API at " + n.API
	}
	fmt.Fprintf(w, "daemon     %s\nidentity   %s\npeer       %s\n", daemon, n.Identity, n.Peer)
	for _, p := range n.P2P {
		fmt.Fprintf(w, "p2p        %s\n", p)
	}
	fmt.Fprintf(w, "databases  %d, %d in memory\npeers      %d\nrelays     %d\n", n.Databases, n.Loaded, n.Peers, n.Relays)
	if n.Relay {
		fmt.Fprintf(w, "relay      yes, %s, its own included\n", words.Count(int64(n.Threads), "thread"))
	}
	fmt.Fprintf(w, "disk       %s, engine %s\n", words.Size(n.Bytes), n.Engine)
	if n.Full {
		fmt.Fprintln(w, "full       the disk is full: writes are refused until there is room")
	}
	fmt.Fprintf(w, "checked    %s\n", n.Checked.text(len(n.Damage) > 0))
	for _, d := range n.Damage {
		fmt.Fprintf(w, "DAMAGED    %s\n", d)
	}
	if len(n.Damage) > 0 {
		fmt.Fprintln(w, "           run weft doctor")
	}
	for _, d := range n.Lost {
		fmt.Fprintf(w, "lost       %s\n", d)
	}
}

// A damage is something that is not served, as it is damaged.
type damage struct {
	Database string `json:"database,omitempty"`
	ID       string `json:"id,omitempty"`
	Reason   string `json:"reason"`
}

func (d damage) String() string {
	if d.Database == "" {
		return tty.Printable(d.Reason)
	}
	return "database " + tty.Printable(d.Database) + ": " + tty.Printable(d.Reason)
}

func damagesOf(all []*weftv1.Damage) []damage {
	out := []damage{}
	for _, d := range all {
		out = append(out, damage{d.GetDatabase(), d.GetId(), d.GetReason()})
	}
	return out
}

// A checked is the last check of everything in the home.
type checked struct {
	Began   *string `json:"began"`
	Ended   *string `json:"ended"`
	Bytes   int64   `json:"bytes"`
	Damaged uint32  `json:"damaged"`
}

func checkedOf(m *weftv1.StatusResponse) *checked {
	c := m.GetChecked()
	if c == nil {
		return nil
	}
	return &checked{words.When(c.GetBegan()), words.When(c.GetEnded()), c.GetBytes(), c.GetDamaged()}
}

// text tells of the check; known says that something is known to be damaged, which
// the check need not have met.
func (c *checked) text(known bool) string {
	if c == nil {
		return "never: weft doctor reads and checks everything"
	}
	found := "nothing is damaged"
	switch {
	case c.Damaged == 0 && known:
		found = "it found nothing"
	case c.Damaged > 0:
		found = words.Count(int64(c.Damaged), "finding")
	}
	return fmt.Sprintf("%s, %s: %s", words.Short(c.Ended), words.Size(c.Bytes), found)
}
