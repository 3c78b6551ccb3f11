package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/internal/fault"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/client"
)

// An idOutput says who a node is.
type idOutput struct {
	Identity string `json:"identity"`
	Device   string `json:"device"`
	Peer     string `json:"peer"`
}

func idOf(ctx context.Context, c *client.Client) (idOutput, error) {
	r, err := c.Node.Identify(ctx, connect.NewRequest(&weftv1.IdentifyRequest{}))
	if err != nil {
		return idOutput{}, err
	}
	return idOutput{Identity: r.Msg.GetIdentity(), Device: r.Msg.GetDevice(), Peer: r.Msg.GetPeer()}, nil
}

func (a *app) initCommand() *cobra.Command {
	var sealed, device bool
	var name string
	cmd := a.newCommand("init", "Create the data folder with an identity and a device", 0, 0,
		func(ctx context.Context, c *client.Client, _ []string) error {
			if sealed && !c.Sealed() {
				return fault.Of(node.ErrExists, "home %s already exists: a passphrase can only be set when it is created", a.home)
			}
			if err := a.sameEngine(ctx, c); err != nil {
				return err
			}
			id, err := idOf(ctx, c)
			if err != nil {
				return err
			}
			type output struct {
				idOutput
				Home    string `json:"home"`
				Created bool   `json:"created"`
			}
			return a.print(output{id, a.home, c.Created()}, func(w io.Writer) {
				word := "already existed"
				if c.Created() {
					word = "created"
				}
				fmt.Fprintf(w, "home      %s (%s)\nidentity  %s\npeer      %s\n", a.home, word, id.Identity, id.Peer)
			})
		})
	cmd.Long = cmd.Short + ". With --passphrase, or if WEFT_PASSPHRASE is set, a passphrase seals its key files.\n" +
		"Commands that open the folder themselves, and weft daemon, take it from WEFT_PASSPHRASE or ask for it."
	cmd.Flags().StringVar(&a.engine, "engine", "", "engine of the store: "+strings.Join(node.Engines(), ", ")+" (default "+node.DefaultEngine+")")
	cmd.Long += "\nWith --device it makes a home that is one more device of an identity which another home has, and\n" +
		"prints what weft device add takes there; weft device accept completes it here."
	cmd.Flags().BoolVar(&device, "device", false, "make a device of an identity that another home has")
	cmd.Flags().StringVar(&name, "name", "", "with --device, a name of the device for people")
	cmd.Flags().BoolVar(&sealed, "passphrase", false, "seal the key files with a passphrase, from WEFT_PASSPHRASE or asked for twice")
	open := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if a.engine != "" || cmd.Flags().Changed("engine") { // before anything is made
			if err := checkEngine(a.engine); err != nil {
				return err
			}
		}
		if sealed {
			if err := a.choose(cmd.Context()); err != nil {
				return err
			}
		}
		switch {
		case device && a.engine != "":
			return usagef("--device and --engine exclude each other")
		case device:
			return a.initDevice(cmd.Context(), name)
		case name != "":
			return usagef("--name is for --device")
		}
		return open(cmd, args)
	}
	return cmd
}

// sameEngine refuses a home of another engine than was asked for: a daemon has it open,
// who was not asked.
func (a *app) sameEngine(ctx context.Context, c *client.Client) error {
	if a.engine == "" {
		return nil
	}
	r, err := c.Node.Status(ctx, connect.NewRequest(&weftv1.StatusRequest{}))
	if err != nil {
		return err
	}
	if has := r.Msg.GetEngine(); has != a.engine {
		return fault.Of(node.ErrInvalid, "%s holds a store of engine %q, not %q", a.home, has, a.engine)
	}
	return nil
}

func (a *app) idCommand() *cobra.Command {
	return a.newCommand("id", "Print the identity", 0, 0,
		func(ctx context.Context, c *client.Client, _ []string) error {
			id, err := idOf(ctx, c)
			if err != nil {
				return err
			}
			return a.print(id, func(w io.Writer) { fmt.Fprintln(w, id.Identity) })
		})
}

func (a *app) statusCommand() *cobra.Command {
	return a.newCommand("status", "Show the node's status", 0, 0,
		func(ctx context.Context, c *client.Client, _ []string) error {
			r, err := c.Node.Status(ctx, connect.NewRequest(&weftv1.StatusRequest{}))
			if err != nil {
				return err
			}
			m := r.Msg
			out := struct {
				Identity  string         `json:"identity"`
				Peer      string         `json:"peer"`
				P2P       []string       `json:"p2p"`
				API       string         `json:"api"`
				Relay     bool           `json:"relay"`
				Version   string         `json:"version"`
				Home      string         `json:"home"`
				Daemon    bool           `json:"daemon"`
				Databases uint32         `json:"databases"`
				Loaded    uint32         `json:"loaded"`
				Threads   uint32         `json:"threads"`
				Peers     uint32         `json:"peers"`
				Relays    uint32         `json:"relays"`
				Bytes     int64          `json:"bytes"`
				Engine    string         `json:"engine"`
				Full      bool           `json:"full"`
				Damage    []damageOutput `json:"damage"`
				Lost      []damageOutput `json:"lost"`
				Checked   *checkedOutput `json:"checked"`
			}{
				m.GetIdentity(), m.GetPeer(), list(m.GetAddrs()), m.GetApi(), m.GetRelay(), m.GetVersion(), m.GetHome(), m.GetApi() != "",
				m.GetDatabases(), m.GetLoaded(), m.GetThreads(), m.GetPeers(), m.GetRelays(), m.GetBytes(),
				m.GetEngine(), m.GetFull(), damagesOf(m.GetDamage()), damagesOf(m.GetLost()), checkedOf(m),
			}
			return a.print(out, func(w io.Writer) {
				daemon := "not running"
				if out.Daemon {
					daemon = "running, API at " + out.API
				}
				fmt.Fprintf(w, "daemon     %s\nidentity   %s\npeer       %s\n", daemon, out.Identity, out.Peer)
				for _, p := range out.P2P {
					fmt.Fprintf(w, "p2p        %s\n", p)
				}
				fmt.Fprintf(w, "databases  %d, %d in memory\npeers      %d\nrelays     %d\n", out.Databases, out.Loaded, out.Peers, out.Relays)
				if out.Relay {
					fmt.Fprintf(w, "relay      yes, %s, its own included\n", count(int64(out.Threads), "thread"))
				}
				fmt.Fprintf(w, "disk       %s, engine %s\n", size(out.Bytes), out.Engine)
				if out.Full {
					fmt.Fprintln(w, "full       the disk is full: writes are refused until there is room")
				}
				fmt.Fprintf(w, "checked    %s\n", out.Checked.text(len(out.Damage) > 0))
				for _, d := range out.Damage {
					fmt.Fprintf(w, "DAMAGED    %s\n", d)
				}
				if len(out.Damage) > 0 {
					fmt.Fprintln(w, "           run weft doctor")
				}
				for _, d := range out.Lost {
					fmt.Fprintf(w, "lost       %s\n", d)
				}
			})
		})
}

// A damageOutput is something that is not served, as it is damaged.
type damageOutput struct {
	Database string `json:"database,omitempty"`
	ID       string `json:"id,omitempty"`
	Reason   string `json:"reason"`
}

func (d damageOutput) String() string {
	if d.Database == "" {
		return tty.Printable(d.Reason)
	}
	return "database " + tty.Printable(d.Database) + ": " + tty.Printable(d.Reason)
}

func damagesOf(all []*weftv1.Damage) []damageOutput {
	out := []damageOutput{}
	for _, d := range all {
		out = append(out, damageOutput{d.GetDatabase(), d.GetId(), d.GetReason()})
	}
	return out
}

// A checkedOutput is the last check of everything in the home.
type checkedOutput struct {
	Began   *string `json:"began"`
	Ended   *string `json:"ended"`
	Bytes   int64   `json:"bytes"`
	Damaged uint32  `json:"damaged"`
}

func checkedOf(m *weftv1.StatusResponse) *checkedOutput {
	c := m.GetChecked()
	if c == nil {
		return nil
	}
	return &checkedOutput{when(c.GetBegan()), when(c.GetEnded()), c.GetBytes(), c.GetDamaged()}
}

// text tells of the check; known says that something is known to be damaged, which
// the check need not have met.
func (c *checkedOutput) text(known bool) string {
	if c == nil {
		return "never: weft doctor reads and checks everything"
	}
	found := "nothing is damaged"
	switch {
	case c.Damaged == 0 && known:
		found = "it found nothing"
	case c.Damaged > 0:
		found = count(int64(c.Damaged), "finding")
	}
	return fmt.Sprintf("%s, %s: %s", short(c.Ended), size(c.Bytes), found)
}

// list returns s, or an empty list for none, which JSON shows as [].
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func (a *app) peersCommand() *cobra.Command {
	return a.newCommand("peers", "List the connected peers", 0, 0,
		func(ctx context.Context, c *client.Client, _ []string) error {
			r, err := c.Node.Peers(ctx, connect.NewRequest(&weftv1.PeersRequest{}))
			if err != nil {
				return err
			}
			type peer struct {
				Peer  string   `json:"peer"`
				Addrs []string `json:"addrs"`
			}
			out := []peer{}
			for _, p := range r.Msg.GetPeers() {
				out = append(out, peer{p.GetId(), list(p.GetAddrs())})
			}
			return a.print(out, func(w io.Writer) {
				rows := [][]string{{"PEER", "ADDRESS"}}
				for _, p := range out {
					rows = append(rows, []string{p.Peer, strings.Join(p.Addrs, " ")})
				}
				table(w, rows...)
			})
		})
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			b := build()
			return a.print(b, func(w io.Writer) { fmt.Fprintln(w, "weft", b) })
		},
	}
}
