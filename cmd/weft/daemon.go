package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/multiformats/go-multiaddr"
	"github.com/spf13/cobra"

	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/rpc"
)

// A daemonOptions says how to run a node.
type daemonOptions struct {
	relay, mdns, verbose bool
	p2p                  []string
}

func (o *daemonOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.mdns, "mdns", true, "find peers on the local network")
	f.StringArrayVar(&o.p2p, "p2p", nil, "multiaddr to listen at, may be repeated (default port 4600, QUIC and TCP)")
	f.BoolVar(&o.verbose, "verbose", false, "log events, not only problems")
}

func (a *app) daemonCommand() *cobra.Command {
	o := daemonOptions{}
	cmd := &cobra.Command{
		Use: "daemon", Short: "Run the node until interrupted", Args: args(0, 0),
		Long: "Run the node until interrupted. Its API listens at --api, by default " + rpc.DefaultAddr + ".",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.p2p == nil {
				o.p2p = []string{
					"/ip4/0.0.0.0/udp/4600/quic-v1", "/ip4/0.0.0.0/tcp/4600",
					"/ip6/::/udp/4600/quic-v1", "/ip6/::/tcp/4600",
				}
			}
			return a.serve(cmd.Context(), o, a.ready)
		},
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&o.relay, "relay", false, "store threads and mail for peers that present an API key of this node")
	return cmd
}

func (a *app) devCommand() *cobra.Command {
	o := daemonOptions{relay: true}
	cmd := &cobra.Command{
		Use: "dev", Short: "Run a local relay for development; its key needs no secret", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.p2p == nil {
				o.p2p = []string{"/ip4/127.0.0.1/udp/4600/quic-v1", "/ip4/127.0.0.1/tcp/4600"}
			}
			return a.serve(cmd.Context(), o, a.readyDev)
		},
	}
	o.flags(cmd)
	return cmd
}

// surfaces are the ways in that a daemon opens: the one list of them.
func (a *app) surfaces() []node.Surface {
	api := strings.TrimSuffix(strings.TrimPrefix(a.api, "http://"), "/")
	return []node.Surface{
		rpc.Surface(cmp.Or(api, rpc.DefaultAddr)),
	}
}

// serve runs a node until ctx ends.
func (a *app) serve(ctx context.Context, o daemonOptions, ready func(*node.Node) error) error {
	c := node.Config{Home: a.home, Surfaces: a.surfaces(), Relay: o.relay, MDNS: o.mdns, LockWait: 5 * time.Second}
	for _, s := range o.p2p {
		m, err := multiaddr.NewMultiaddr(s)
		if err != nil {
			return usagef("invalid --p2p %q: want a multiaddr: %v", s, err)
		}
		c.Listen = append(c.Listen, m)
	}
	level := slog.LevelWarn
	if o.verbose {
		level = slog.LevelInfo
	}
	c.Log = slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
	var n *node.Node
	err := a.unseal(ctx, func() (err error) {
		c.Passphrase = a.passphrase
		n, err = node.Open(ctx, c)
		return err
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to end before it was ready
		}
		return err
	}
	if err := ready(n); err != nil {
		return errors.Join(err, n.Close())
	}
	<-ctx.Done()
	return n.Close()
}

// A readyOutput is the one line of a daemon that is ready.
type readyOutput struct {
	Peer string   `json:"peer"`
	P2P  []string `json:"p2p"`
	API  string   `json:"api"`
	Key  string   `json:"key,omitempty"` // of weft dev
}

func readyOf(n *node.Node) readyOutput {
	return readyOutput{Peer: n.Peer().String(), P2P: list(n.Addrs()), API: n.SurfaceAddr(node.SurfaceAPI)}
}

func (a *app) ready(n *node.Node) error {
	r := readyOf(n)
	return a.print(r, func(w io.Writer) {
		fmt.Fprintf(w, "ready\nAPI  http://%s\n", r.API)
		for _, addr := range r.P2P {
			fmt.Fprintf(w, "p2p  %s\n", addr)
		}
	})
}

// readyDev makes a key for a day and says what to paste where.
func (a *app) readyDev(n *node.Node) error {
	k, _, err := n.CreateKey(node.KeyOptions{Kind: keys.KindUser, Name: "weft dev", NonSigning: true})
	if err != nil {
		return err
	}
	r := readyOf(n)
	r.Key = k.Text()
	return a.print(r, func(w io.Writer) {
		addr := "ADDRESS"
		if len(r.P2P) > 0 {
			addr = r.P2P[0]
		}
		fmt.Fprintf(w, `ready: a relay for development, reachable from this machine only

To use it from a device, run in another terminal
  export WEFT_HOME=$(mktemp -d)
  weft relay add %s --key %s
  weft db create try
  weft insert try things '{"hello":"world"}'
  weft db status try --wait identical
To use it from an embedded node, call
  n.AddRelay(ctx, addr, node.RelayOptions{Key: %q})
The key needs no secret and expires at %s. It is for development only.

API    http://%s
token  %s/api.token
`, addr, r.Key, r.Key, k.Expires, r.API, a.home)
	})
}
