package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/weftdb/weft/cmd/weft/internal/report"
	"github.com/weftdb/weft/cmd/weft/internal/words"
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
			out := report.NodeOf(r.Msg)
			return a.print(out, out.Write)
		})
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
				out = append(out, peer{p.GetId(), words.List(p.GetAddrs())})
			}
			return a.print(out, func(w io.Writer) {
				rows := [][]string{{"PEER", "ADDRESS"}}
				for _, p := range out {
					rows = append(rows, []string{p.Peer, strings.Join(p.Addrs, " ")})
				}
				words.Table(w, rows...)
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
