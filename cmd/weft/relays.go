package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/cmd/weft/internal/words"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node/client"
)

func (a *app) relayCommand() *cobra.Command {
	return newParent("relay", "Manage the relays that store this node's databases and mail", a.relayAdd(), a.relayList(), a.relayRemove())
}

type relayOutput struct {
	Peer      string   `json:"peer"`
	Addr      string   `json:"addr"`
	Key       string   `json:"key"`
	Databases []string `json:"databases"`
	Connected bool     `json:"connected"`
}

func relayOf(r *weftv1.Relay) relayOutput {
	return relayOutput{r.GetPeer(), r.GetAddr(), r.GetKey(), words.List(r.GetDatabases()), r.GetConnected()}
}

func (a *app) relayAdd() *cobra.Command {
	var m weftv1.AddRelayRequest
	cmd := a.newCommand("add MULTIADDR", "Use a relay: it stores this node's databases", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			m.Addr = args[0]
			if m.GetKey() == "" && m.GetSecret() == "" {
				m.Key, m.Secret = os.Getenv("WEFT_KEY"), os.Getenv("WEFT_SECRET")
			}
			r, err := c.Relays.Add(ctx, connect.NewRequest(&m))
			if err != nil {
				return err
			}
			out := relayOf(r.Msg.GetRelay())
			return a.print(out, func(w io.Writer) {
				fmt.Fprintf(w, "added relay %s for %s; weft db status shows whether it accepts them\n", out.Peer, databasesOf(out))
			})
		})
	f := cmd.Flags()
	f.StringVar(&m.Key, "key", "", "API key (WEFT_KEY)")
	f.StringVar(&m.Secret, "secret", "", "secret of the key (WEFT_SECRET)")
	f.StringSliceVar(&m.Databases, "db", nil, "database to store, may be repeated (default all)")
	a.completeDatabase(cmd, "db")
	return cmd
}

func databasesOf(r relayOutput) string {
	if len(r.Databases) == 0 {
		return "all databases"
	}
	return tty.Printable(strings.Join(r.Databases, ","))
}

func (a *app) relayList() *cobra.Command {
	return a.newCommand("ls", "List the relays", 0, 0,
		func(ctx context.Context, c *client.Client, _ []string) error {
			r, err := c.Relays.List(ctx, connect.NewRequest(&weftv1.ListRelaysRequest{}))
			if err != nil {
				return err
			}
			out := []relayOutput{}
			for _, x := range r.Msg.GetRelays() {
				out = append(out, relayOf(x))
			}
			return a.print(out, func(w io.Writer) {
				rows := [][]string{{"ADDRESS", "KEY", "DATABASES", "CONNECTED"}}
				for _, x := range out {
					rows = append(rows, []string{x.Addr, x.Key, databasesOf(x), fmt.Sprint(x.Connected)})
				}
				words.Table(w, rows...)
			})
		})
}

func (a *app) relayRemove() *cobra.Command {
	return a.newCommand("rm RELAY", "Stop using a relay, named by its peer ID or address", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			_, err := c.Relays.Remove(ctx, connect.NewRequest(&weftv1.RemoveRelayRequest{Relay: args[0]}))
			return a.done(err)
		})
}

// done ends a command that has nothing to tell.
func (a *app) done(err error) error {
	if err != nil {
		return err
	}
	return a.print(struct{}{}, func(io.Writer) {})
}
