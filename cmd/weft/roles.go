package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
	"github.com/weftdb/weft/node/client"
)

// who explains an argument of the commands below.
const who = "\n\nWHO is an identity (did:key), or a device of it by peer ID or did:key, as weft db members\n" +
	"shows them; the first 6 characters or more (after did:key:) are enough if no other begins\n" +
	"with them."

// A subjectOutput is whose membership was changed: an identity's, or one device's.
type subjectOutput struct {
	Identity string `json:"identity,omitempty"`
	Peer     string `json:"peer,omitempty"`
	Role     string `json:"role,omitempty"`
}

func (a *app) dbRole() *cobra.Command {
	cmd := a.newCommand("role DB WHO ROLE", "Give an identity another role", 3, 3,
		func(ctx context.Context, c *client.Client, args []string) error {
			if !slices.Contains([]string{"owner", "admin", "writer", "reader"}, args[2]) {
				return usagef("invalid ROLE %q: want owner, admin, writer or reader", args[2])
			}
			r, err := c.Databases.SetRole(ctx, connect.NewRequest(&weftv1.SetRoleRequest{Name: args[0], Identity: args[1], Role: args[2]}))
			if err != nil {
				return err
			}
			out := subjectOutput{Identity: r.Msg.GetIdentity(), Role: args[2]}
			return a.print(out, func(w io.Writer) { fmt.Fprintf(w, "%s is now %s\n", out.Identity, out.Role) })
		})
	cmd.Long = "Give an identity another role, on all its devices. ROLE is\n\n" +
		"  owner   everything, and gives any role\n" +
		"  admin   writes; invites, admits and removes writers and readers, and changes their roles\n" +
		"  writer  writes documents and files\n" +
		"  reader  reads them\n\n" +
		"Owners and admins decide about their juniors only: who was made owner or admin first is\n" +
		"senior, and an owner is senior to every admin. What somebody wrote before in a role that\n" +
		"writes stays, as far as this device has it; who becomes a reader can go on reading. Devices\n" +
		"hear of it when they next exchange records, and what they wrote meanwhile is refused if\n" +
		"their new role does not write. Who was removed, or waits barred, is a member again." + who
	return cmd
}

func (a *app) dbRemoveMember() *cobra.Command {
	cmd := a.newCommand("remove-member DB WHO", "Remove an identity, or one device, from the members of a database", 2, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.Databases.RemoveMember(ctx, connect.NewRequest(&weftv1.RemoveMemberRequest{Name: args[0], Subject: args[1]}))
			if err != nil {
				return err
			}
			out := subjectOutput{Identity: r.Msg.GetIdentity(), Peer: r.Msg.GetPeer()}
			return a.print(out, func(w io.Writer) { fmt.Fprintf(w, "%s%s is no member any more\n", out.Identity, out.Peer) })
		})
	cmd.Long = "Remove an identity with all its devices, or one device, from the members of a database:\n" +
		"for a colleague who leaves, or a phone that was lost.\n\n" +
		"  What it wrote and this device has stays. What it writes from then on, or wrote and had\n" +
		"  not sent yet, counts nowhere; it is told so when it next exchanges records.\n" +
		"  It cannot read what is written from then on by devices that know of the removal, which\n" +
		"  seal it with a new key. It keeps its copy, and what it has read it has read: nobody can\n" +
		"  take that back. Change passwords and the like that were in the database.\n" +
		"  All open invites are closed, as it may know their URLs: make new ones.\n" +
		"  By another invite it does not come back by itself: it waits, barred, until an owner or\n" +
		"  admin who may remove it as well admits it with weft db admit or weft db role.\n\n" +
		"Owners and admins remove their juniors: who was made owner or admin first is senior, and an\n" +
		"owner is senior to every admin. Everybody removes own devices that were invited after the\n" +
		"one that does it; that closes no invites, and the key is changed by the next device of an\n" +
		"owner or admin that hears of it. A device does not remove itself: weft db leave." + who
	return cmd
}

func (a *app) dbLeave() *cobra.Command {
	cmd := a.newCommand("leave DB", "End the membership of this device", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			_, err := c.Databases.Leave(ctx, connect.NewRequest(&weftv1.LeaveRequest{Name: args[0]}))
			return a.done(err)
		})
	cmd.Long = "End the membership of this device, and of the devices of its identity that were invited after\n" +
		"it. What this device wrote stays at the others, also what they have not received yet: it is\n" +
		"sent with the departure, so wait for weft db status DB --wait identical before you end the\n" +
		"daemon or delete the copy with weft db rm DB. Until then the copy can be read and not\n" +
		"changed. Who comes back by a new invite waits, barred, until an owner or admin admits it.\n" +
		"The last owner cannot leave: make another one with weft db role, or weft db transfer."
	return cmd
}

func (a *app) dbTransfer() *cobra.Command {
	cmd := a.newCommand("transfer DB WHO", "Make another identity owner in the place of this one", 2, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.Databases.Transfer(ctx, connect.NewRequest(&weftv1.TransferRequest{Name: args[0], Identity: args[1]}))
			if err != nil {
				return err
			}
			out := subjectOutput{Identity: r.Msg.GetIdentity(), Role: "owner"}
			return a.print(out, func(w io.Writer) {
				fmt.Fprintf(w, "%s is now owner, and this device no member any more\n", out.Identity)
			})
		})
	cmd.Long = "Make another identity, a member, owner in the place of this one. This device and the devices\n" +
		"of its identity that were invited after it are no members any more, as after weft db leave: what\n" +
		"they wrote stays, they keep their copies and cannot change them. Only the new owner can undo\n" +
		"it. If there is no other owner before it, the new one is the one who may compact the database.\n" +
		"Owners that were made before this one was stay senior to the new one. Only an owner can." + who
	return cmd
}

func (a *app) dbRotate() *cobra.Command {
	cmd := a.newCommand("rotate DB", "Change the key that seals what is written from now on", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			_, err := c.Databases.Rotate(ctx, connect.NewRequest(&weftv1.RotateRequest{Name: args[0]}))
			return a.done(err)
		})
	cmd.Long = "Change the key that seals what is written from now on, for when somebody who is no member may\n" +
		"have the present one. All members and the holders of open invites get the new key, and\n" +
		"what was written before stays sealed as it is: who had the old key can go on reading that.\n" +
		"A removal changes the key by itself. Only an owner or admin can."
	return cmd
}
