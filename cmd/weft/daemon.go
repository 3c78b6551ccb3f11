package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/spf13/cobra"

	"github.com/weftdb/weft/cmd/weft/internal/remote"
	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/cmd/weft/internal/words"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/client"
	"github.com/weftdb/weft/node/rpc"
)

// A daemonOptions says how to run a node.
type daemonOptions struct {
	hub                               remote.Options
	relay, mdns, verbose, local, make bool
	p2p                               []string
}

func (o *daemonOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.mdns, "mdns", true, "announce this node on the local network and find peers there")
	f.StringArrayVar(&o.p2p, "p2p", nil, "multiaddr to listen at, may be repeated (default port 4600, QUIC and TCP)")
	f.BoolVar(&o.verbose, "verbose", false, "log everything, and print every address")
}

// listen returns where to listen, at port 4600 of all interfaces or of this machine only.
func (o *daemonOptions) listen() ([]string, error) {
	at := o.p2p
	switch {
	case at != nil && o.local:
		return nil, usagef("--local and --p2p exclude each other: --local listens on this machine only")
	case o.local:
		o.mdns = false
		at = []string{"/ip4/127.0.0.1/udp/4600/quic-v1", "/ip4/127.0.0.1/tcp/4600"}
	case at == nil:
		at = []string{
			"/ip4/0.0.0.0/udp/4600/quic-v1", "/ip4/0.0.0.0/tcp/4600",
			"/ip6/::/udp/4600/quic-v1", "/ip6/::/tcp/4600",
		}
	}
	for _, s := range at {
		if _, err := multiaddr.NewMultiaddr(s); err != nil {
			return nil, usagef("invalid --p2p %q: want a multiaddr, such as /ip4/0.0.0.0/tcp/4600", s)
		}
	}
	return at, nil
}

func (a *app) daemonCommand() *cobra.Command {
	o := daemonOptions{}
	cmd := &cobra.Command{
		Use: "daemon", Short: "Run the node until interrupted", Args: args(0, 0),
		Long: "Run the node until interrupted. Its API listens at --api, by default " + rpc.DefaultAddr + ".\n\n" +
			"Peers reach it at port 4600 of all interfaces, and it announces itself on the local network by mDNS; --local keeps\n" +
			"it to this machine. What it logs goes to standard error: start, peers, refusals, at most one a minute each, and errors.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			check := a.existing
			if o.make {
				check = a.room
			}
			api := a.api
			a.api = "" // where it is to listen, and no node to ask
			err := check()
			if a.api = api; err != nil {
				return err
			}
			return a.serve(cmd.Context(), &o, func(n *node.Node) error { return a.ready(n, o) })
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&o.local, "local", false, "listen on this machine only, and announce nothing")
	cmd.Flags().BoolVar(&o.make, "init", false, "make the home if there is none")
	cmd.Flags().BoolVar(&o.relay, "relay", false, "store threads and mail for peers that present an API key of this node")
	o.hub.Flags(cmd.Flags())
	return cmd
}

func (a *app) devCommand() *cobra.Command {
	o := daemonOptions{relay: true}
	cmd := &cobra.Command{
		Use: "dev", Short: "Run a local relay for development; its key needs no secret", Args: args(0, 0),
		Long: "Run a local relay for development. Its home and its key, which needs no secret, are made when there are none,\n" +
			"and used again after that; a key holds for a day.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.room(); err != nil {
				return err
			}
			o.local = o.p2p == nil
			return a.serve(cmd.Context(), &o, a.readyDev)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
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

// safe refuses an API that another machine answers, or is to reach, in the clear: its token
// is good for everything.
func (a *app) safe() error {
	if a.api == "" {
		return nil
	}
	base, err := client.Base(a.api)
	if err != nil || a.insecure || base.Scheme == "https" {
		return err
	}
	host := base.Hostname()
	ip, err := netip.ParseAddr(host)
	if host == "localhost" || err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return usagef("--api %s is not on this machine: its token, which is good for everything, would cross the network in the clear. "+
		"Put a proxy with TLS before an API on loopback and call it at https://, or accept that with --api-insecure", tty.Printable(a.api))
}

// serve runs a node until ctx ends.
func (a *app) serve(ctx context.Context, o *daemonOptions, ready func(*node.Node) error) error {
	if strings.HasPrefix(a.api, "https://") {
		return usagef("a daemon's API has no TLS of its own: listen on loopback, and put a proxy with TLS before it")
	}
	if err := a.safe(); err != nil {
		return err
	}
	listen, err := o.listen()
	if err != nil {
		return err
	}
	surfaces, err := o.hub.Surfaces()
	if err != nil {
		return err
	}
	o.relay = o.relay || o.hub.On
	c := node.Config{
		Home: a.home, Surfaces: append(a.surfaces(), surfaces...), Relay: o.relay, MDNS: o.mdns, LockWait: 5 * time.Second,
		Listen: listen, Log: tty.NewLog(a.err, o.verbose),
	}
	var n *node.Node
	err = a.unseal(ctx, func() (err error) {
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
	c.Log.Info("started", "version", node.Version(), "home", a.home, "peer", n.Peer().String(), "api", n.SurfaceAddr(node.SurfaceAPI), "relay", o.relay)
	var peers sync.WaitGroup
	peers.Go(func() { tellPeers(ctx, n) })
	<-ctx.Done()
	peers.Wait()
	c.Log.Info("ending")
	return n.Close()
}

// A readyOutput is the one line of a daemon that is ready.
type readyOutput struct {
	Peer string   `json:"peer"`
	P2P  []string `json:"p2p"`
	API  string   `json:"api"`
	Hub  string   `json:"hub,omitempty"` // where it answers remote callers
	Key  string   `json:"key,omitempty"` // of weft dev
}

func readyOf(n *node.Node) readyOutput {
	return readyOutput{Peer: n.Peer().String(), P2P: words.List(n.Addrs()), API: n.SurfaceAddr(node.SurfaceAPI)}
}

// address returns the address to give to others, "" for none: one that other machines reach
// if there is one, by IPv4 and TCP if it can be.
func (r readyOutput) address() (best string) {
	most := -1
	for _, s := range r.P2P {
		m, err := multiaddr.NewMultiaddr(s)
		if err != nil {
			continue
		}
		points := 0
		for i, good := range []bool{strings.Contains(s, "/tcp/"), strings.HasPrefix(s, "/ip4/"), manet.IsPublicAddr(m), !manet.IsIPLoopback(m)} {
			if good {
				points += 1 << i
			}
		}
		if points > most {
			best, most = s, points
		}
	}
	return best
}

// reach says who can reach the node, and how to keep others out.
func (r readyOutput) reach(o daemonOptions) string {
	outside := slices.ContainsFunc(r.P2P, func(s string) bool {
		m, err := multiaddr.NewMultiaddr(s)
		return err == nil && !manet.IsIPLoopback(m)
	})
	switch {
	case outside && o.mdns:
		return "other machines can reach this node, and it announces itself on the local network: --local keeps it to this machine"
	case outside:
		return "other machines can reach this node: --local keeps it to this machine"
	case o.mdns:
		return "only this machine can reach this node, but it announces itself on the local network: --mdns=false ends that"
	}
	return "only this machine can reach this node"
}

func (a *app) ready(n *node.Node, o daemonOptions) error {
	r := readyOf(n)
	r.Hub = o.hub.Called(n)
	return a.print(r, func(w io.Writer) {
		fmt.Fprintf(w, "ready\nAPI  http://%s\n", r.API)
		if r.Hub != "" {
			fmt.Fprintf(w, "hub  %s\n", r.Hub)
		}
		if best := r.address(); best != "" {
			fmt.Fprintf(w, "p2p  %s\n", best)
		}
		for _, addr := range r.P2P {
			if o.verbose && addr != r.address() {
				fmt.Fprintf(w, "     %s\n", addr)
			}
		}
		if more := len(r.P2P) - 1; more > 0 && !o.verbose {
			fmt.Fprintf(w, "     and %s: weft status lists all\n", words.CountAs(int64(more), "other address", "other addresses"))
		}
		fmt.Fprintln(w, r.reach(o))
	})
}

// leastLeft is how long a key of weft dev must hold still to be used again.
const leastLeft = time.Hour

// devKey returns the key of weft dev, a new one for a day if none holds.
func devKey(n *node.Node) (*keys.APIKey, error) {
	const name = "weft dev"
	all, err := n.Keys()
	if err != nil {
		return nil, err
	}
	for _, k := range all {
		if k.Name == name && !k.Signing && k.Kind == keys.KindUser && k.Revoked == 0 && time.Until(k.Expires.Time()) > leastLeft {
			return k, nil
		}
	}
	k, _, err := n.CreateKey(node.KeyOptions{Kind: keys.KindUser, Name: name, NonSigning: true})
	return k, err
}

// readyDev says what to paste where.
func (a *app) readyDev(n *node.Node) error {
	k, err := devKey(n)
	if err != nil {
		return err
	}
	r := readyOf(n)
	r.Key = k.Text()
	return a.print(r, func(w io.Writer) {
		fmt.Fprintf(w, `ready: a relay for development, reachable from this machine only

To use it from a device, run in another terminal
  export WEFT_HOME=$(mktemp -d)
  weft init
  weft relay add %s --key %s
  weft db create try
  weft insert try things '{"hello":"world"}'
  weft db status try --wait identical
To use it from an embedded node, call
  n.AddRelay(ctx, addr, node.RelayOptions{Key: %q})
The key needs no secret and expires at %s. It is for development only.

API    http://%s
token  %s/api.token
`, cmp.Or(r.address(), "ADDRESS"), r.Key, r.Key, k.Expires, r.API, a.home)
	})
}
