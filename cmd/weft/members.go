package main

import (
	"context"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/weftdb/weft/cmd/weft/internal/report"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
	"github.com/weftdb/weft/node/client"
)

func (a *app) dbMembers() *cobra.Command {
	return a.newCommand("members DB", "List the devices of a database, and those that wait to be admitted", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.Databases.Members(ctx, connect.NewRequest(&weftv1.MembersRequest{Name: args[0]}))
			if err != nil {
				return err
			}
			out := report.MembersOf(args[0], r.Msg)
			return a.print(out, out.Write)
		})
}

func (a *app) dbAdmit() *cobra.Command {
	cmd := a.newCommand("admit DB JOIN…", "Admit devices that wait", 2, -1,
		func(ctx context.Context, c *client.Client, args []string) error {
			_, err := c.Databases.Admit(ctx, connect.NewRequest(&weftv1.AdmitRequest{Name: args[0], Joins: args[1:]}))
			return a.done(err)
		})
	cmd.Long = "Admit devices that wait. A device waits if its invite was closed (used up, expired\n" +
		"or revoked) before its join was known, or if it is barred: its identity was removed\n" +
		"or left before. Only an owner or admin can admit it; who was removed by an owner, an owner.\n" +
		"JOIN is the ID that weft db members shows, or the peer ID of the device; the first 6\n" +
		"characters or more of either are enough if no other begins with them."
	return cmd
}

func (a *app) dbInvites() *cobra.Command {
	cmd := a.newCommand("invites DB", "List the invites to a database", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.Databases.Invites(ctx, connect.NewRequest(&weftv1.InvitesRequest{Name: args[0]}))
			if err != nil {
				return err
			}
			out := report.InvitesOf(r.Msg)
			return a.print(out, out.Write)
		})
	cmd.Long = "List the invites to a database. The state of an invite is\n\n" +
		"  open     it lets devices in\n" +
		"  used up  as many devices as it was made for have joined\n" +
		"  expired  its time is over\n" +
		"  revoked  an owner or admin closed it, or removed a member, who may know it\n" +
		"  closed   its time is over, and it was closed for good"
	return cmd
}

func (a *app) dbRevoke() *cobra.Command {
	cmd := a.newCommand("revoke DB INVITE…", "Revoke invites: they let no device in any more", 2, -1,
		func(ctx context.Context, c *client.Client, args []string) error {
			_, err := c.Databases.RevokeInvite(ctx, connect.NewRequest(&weftv1.RevokeInviteRequest{Name: args[0], Invites: args[1:]}))
			return a.done(err)
		})
	cmd.Long = "Revoke invites. Devices that are known to have joined stay members; one that is not\n" +
		"known yet waits until an owner or admin admits it with weft db admit. Only they can revoke.\n" +
		"INVITE is the ID that weft db invites shows, or its first 6 characters or more after\n" +
		"did:key:, if no other begins with them, or the invite's URL."
	return cmd
}
