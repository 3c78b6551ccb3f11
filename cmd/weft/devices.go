package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/weftdb/weft/cmd/weft/internal/report"
	"github.com/weftdb/weft/internal/fault"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/client"
)

func (a *app) deviceCommand() *cobra.Command {
	return newParent("device", "Add, list and remove the devices of this identity", a.deviceAdd(), a.deviceAccept(), a.deviceList(), a.deviceRemove())
}

func (a *app) deviceAdd() *cobra.Command {
	var databases []string
	cmd := a.newCommand("add REQUEST|DEVICE|-", "Let another device of this identity into its databases", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			request, err := a.argument(args[0])
			if err != nil {
				return err
			}
			r, err := c.Devices.Add(ctx, connect.NewRequest(&weftv1.AddDeviceRequest{Request: strings.TrimSpace(request), Databases: databases}))
			if err != nil {
				return err
			}
			out := struct {
				Peer      string          `json:"peer"`
				Reply     string          `json:"reply"`
				Databases []report.Change `json:"databases"`
			}{r.Msg.GetPeer(), r.Msg.GetReply(), report.ChangesOf(r.Msg.GetChanges())}
			return a.print(out, func(w io.Writer) {
				report.WriteChanges(a.err, "added to", out.Databases)
				fmt.Fprintln(a.err, "give the new device this reply, which only it can read: weft device accept REPLY")
				fmt.Fprintln(w, out.Reply)
			})
		})
	cmd.Long = "Let another device of this identity, a phone or a second computer, into the databases in\n" +
		"which this device takes part: as the same member, with the same role, without an invite.\n\n" +
		"  on the new device   weft init --device --name phone      prints a REQUEST\n" +
		"  here                weft device add REQUEST              prints a reply\n" +
		"  on the new device   weft device accept REPLY\n\n" +
		"Neither text is a secret: the reply is sealed to the new device, which alone can read it. It\n" +
		"holds the device's certificate, the keys of the relays that are used here, and what finds the\n" +
		"databases. The new device does not get the key of the identity: it adds no devices and opens\n" +
		"no mail, and who steals it has not more than it. Databases that come later are added in the\n" +
		"same way; a device that takes part in another database already is named by its peer ID or its\n" +
		"name, as weft device ls shows it, without a request. An identity has at most 16 devices in a database."
	cmd.Flags().StringSliceVar(&databases, "db", nil, "add it to these databases only")
	return cmd
}

func (a *app) deviceAccept() *cobra.Command {
	cmd := a.newCommand("accept REPLY|-", "Take part in the databases to which another device has added this one", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			reply, err := a.argument(args[0])
			if err != nil {
				return err
			}
			r, err := c.Devices.Accept(ctx, connect.NewRequest(&weftv1.AcceptDeviceRequest{Reply: strings.TrimSpace(reply)}))
			if err != nil {
				return err
			}
			out := struct {
				Databases []report.Change `json:"databases"`
			}{report.ChangesOf(r.Msg.GetChanges())}
			if err := a.print(out, func(w io.Writer) { report.WriteChanges(w, "joined", out.Databases) }); err != nil {
				return err
			}
			return report.FailedChanges("this device could not take part", out.Databases)
		})
	cmd.Long = "Take part in the databases to which another device of the identity has added this one, by the\n" +
		"reply that weft device add printed there; - reads it from standard input. The other device or\n" +
		"a relay has to be online. What was not reached can be tried again with the same reply."
	open := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error { // a home that waits becomes a device's first
		if a.api != "" || !node.Waits(a.home) {
			return open(cmd, args)
		}
		reply, err := a.argument(args[0])
		if err != nil {
			return err
		}
		err = a.unseal(cmd.Context(), func() error {
			return node.BecomeDevice(cmd.Context(), a.home, reply, node.DeviceOptions{Passphrase: a.passphrase})
		})
		if err != nil {
			return err
		}
		return open(cmd, []string{strings.TrimSpace(reply)})
	}
	return cmd
}

func (a *app) deviceList() *cobra.Command {
	cmd := a.newCommand("ls", "List the devices of this identity, and in which databases they take part", 0, 0,
		func(ctx context.Context, c *client.Client, _ []string) error {
			r, err := c.Devices.List(ctx, connect.NewRequest(&weftv1.ListDevicesRequest{}))
			if err != nil {
				return err
			}
			out := report.DevicesOf(r.Msg)
			return a.print(out, out.Write)
		})
	cmd.Long = cmd.Short + ",\nas far as the databases of this node know them."
	return cmd
}

func (a *app) deviceRemove() *cobra.Command {
	var databases []string
	cmd := a.newCommand("rm DEVICE", "Remove a device of this identity, for when it is lost", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.Devices.Remove(ctx, connect.NewRequest(&weftv1.RemoveDeviceRequest{Device: args[0], Databases: databases}))
			if err != nil {
				return err
			}
			out := struct {
				Peer      string          `json:"peer"`
				Databases []report.Change `json:"databases"`
			}{r.Msg.GetPeer(), report.ChangesOf(r.Msg.GetChanges())}
			if err := a.print(out, func(w io.Writer) { report.WriteChanges(w, "removed from", out.Databases) }); err != nil {
				return err
			}
			return report.FailedChanges("the device is still a member", out.Databases)
		})
	cmd.Long = "Remove a device of this identity from the databases of this node: for a phone that was lost.\n\n" +
		"  What it wrote and this device has stays. What it writes from then on counts nowhere, and it\n" +
		"  is told so when it next exchanges records.\n" +
		"  The key that seals what is written is changed by the next device of an owner or admin that\n" +
		"  hears of it, this one if it is one: what is written after that it cannot read. It keeps its\n" +
		"  copy, and what it has read it has read. Change passwords and the like that were in there.\n" +
		"  The keys of relays that it was given go on: have the relay's operator revoke them.\n\n" +
		"DEVICE is its peer ID, the first 6 characters or more of that, or its name, as weft device ls\n" +
		"shows them. A device removes those that were added after it; in the home that has the key of\n" +
		"the identity, all others. If that home is the one that was lost, ask an owner or admin to\n" +
		"remove the identity (weft db remove-member), or take the recovery key (weft db recover)."
	cmd.Flags().StringSliceVar(&databases, "db", nil, "remove it from these databases only")
	return cmd
}

// initDevice makes a home that waits to be a device, and prints its request.
func (a *app) initDevice(ctx context.Context, name string) error {
	if a.api != "" {
		return usagef("weft init --device makes a home in a folder: leave out --api and WEFT_API")
	}
	if err := a.room(); err != nil {
		return err
	}
	request, err := node.RequestDevice(ctx, a.home, node.DeviceOptions{Name: name, Passphrase: a.passphrase})
	if errors.Is(err, node.ErrHomeInUse) {
		err = fault.Of(node.ErrExists, "home %s already exists, and is in use", a.home)
	}
	if err != nil {
		return err
	}
	out := struct {
		Request string `json:"request"`
		Home    string `json:"home"`
	}{request, a.home}
	return a.print(out, func(w io.Writer) {
		fmt.Fprintln(a.err, "run this in the home that has your identity, and weft device accept here with what it prints: weft device add REQUEST")
		fmt.Fprintln(w, out.Request)
	})
}
