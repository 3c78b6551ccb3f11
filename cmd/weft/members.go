package main

import (
	"context"
	"fmt"
	"io"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
	"github.com/weftdb/weft/node/client"
)

// A memberOutput is a device that may take part in a database.
type memberOutput struct {
	Peer     string  `json:"peer"`
	Identity string  `json:"identity"`
	Name     string  `json:"name"`
	Role     string  `json:"role"`
	Since    *string `json:"since"`
	Self     bool    `json:"self"`
	Added    bool    `json:"added,omitempty"` // by another device of its identity; it has not begun
}

// note tells what is special about it.
func (m *memberOutput) note() string {
	if m.Added {
		return "has not begun"
	}
	return thisDevice(m.Self)
}

// A joinOutput is a device that waits until an owner or admin admits it.
type joinOutput struct {
	ID       string  `json:"id"`
	Peer     string  `json:"peer"`
	Identity string  `json:"identity"`
	Name     string  `json:"name"`
	Invite   string  `json:"invite"`
	Time     *string `json:"time"`
	Self     bool    `json:"self"`
	Barred   bool    `json:"barred"` // its identity was removed or left before
}

func joinOf(m *weftv1.WaitingJoin) joinOutput {
	return joinOutput{m.GetId(), m.GetPeer(), m.GetIdentity(), m.GetName(), m.GetInvite(), when(m.GetTime()), m.GetSelf(), m.GetBarred()}
}

// why tells why it waits.
func (j *joinOutput) why() string {
	if j.Barred {
		return "its identity was removed or left before"
	}
	return "its invite was closed before its join was known"
}

// note tells what is special about it.
func (j *joinOutput) note() string {
	switch {
	case j.Barred && j.Self:
		return "barred, this device"
	case j.Barred:
		return "barred"
	}
	return thisDevice(j.Self)
}

// shownID is how much of a join's ID people see: enough to name it.
const shownID = 16

func thisDevice(self bool) string {
	if self {
		return "this device"
	}
	return ""
}

// devicesWait tells how many devices wait: "1 device waits", "2 devices wait".
func devicesWait(n int64) string {
	if n == 1 {
		return "1 device waits"
	}
	return count(n, "device") + " wait"
}

// printWaiting says who waits to be admitted, and who can help.
func (s statusOutput) printWaiting(w io.Writer) {
	if s.Frozen {
		fmt.Fprintf(w, "NOBODY'S RIGHTS CHANGE ANY MORE, as the recovery key was used twice: weft db members %s\n", s.name)
	}
	if s.Self != nil {
		fmt.Fprintf(w, "this device waits to be admitted, as %s: ask an owner or admin to run weft db admit DB %s\n", s.Self.why(), s.Self.Peer)
	}
	if s.Waiting > 0 {
		fmt.Fprintf(w, "%s to be admitted: weft db members %s, weft db admit %[2]s JOIN\n", devicesWait(s.Waiting), s.name)
	}
}

func (a *app) dbMembers() *cobra.Command {
	return a.newCommand("members DB", "List the devices of a database, and those that wait to be admitted", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.Databases.Members(ctx, connect.NewRequest(&weftv1.MembersRequest{Name: args[0]}))
			if err != nil {
				return err
			}
			out := struct {
				Members []memberOutput `json:"members"`
				Waiting []joinOutput   `json:"waiting"`

				Recoverable bool             `json:"recoverable"` // there is a recovery key that was not used
				Recovered   []recoveryOutput `json:"recovered,omitempty"`
				Frozen      []recoveryOutput `json:"frozen,omitempty"`
			}{
				Members: []memberOutput{}, Waiting: []joinOutput{}, Recoverable: r.Msg.GetRecoverable(),
				Recovered: recoveriesOf(r.Msg.GetRecovered()), Frozen: recoveriesOf(r.Msg.GetFrozen()),
			}
			for _, m := range r.Msg.GetMembers() {
				out.Members = append(out.Members, memberOutput{
					m.GetPeer(), m.GetIdentity(), m.GetName(), m.GetRole(), when(m.GetSince()), m.GetSelf(), m.GetAdded(),
				})
			}
			for _, m := range r.Msg.GetWaiting() {
				out.Waiting = append(out.Waiting, joinOf(m))
			}
			return a.print(out, func(w io.Writer) {
				rows := [][]string{{"DEVICE", "IDENTITY", "NAME", "ROLE", "SINCE"}}
				for _, m := range out.Members {
					rows = append(rows, []string{m.Peer, m.Identity, m.Name, m.Role, short(m.Since), m.note()})
				}
				table(w, rows...)
				printRecoveries(w, out.Recovered, out.Frozen)
				if len(out.Waiting) == 0 {
					return
				}
				fmt.Fprintf(w, "\n%s to be admitted by an owner or admin: weft db admit %s JOIN\n", devicesWait(int64(len(out.Waiting))), args[0])
				rows = [][]string{{"JOIN", "DEVICE", "IDENTITY", "NAME", "JOINED"}}
				for _, j := range out.Waiting {
					rows = append(rows, []string{j.ID[:min(len(j.ID), shownID)], j.Peer, j.Identity, j.Name, short(j.Time), j.note()})
				}
				table(w, rows...)
			})
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

// An inviteOutput is what is known of an invite.
type inviteOutput struct {
	ID      string  `json:"id"`
	Role    string  `json:"role"`
	Uses    uint64  `json:"uses"` // 0: any number
	Used    uint64  `json:"used"`
	Expires *string `json:"expires"` // null: never
	State   string  `json:"state"`
	Creator string  `json:"creator"`
}

// uses tells how often an invite was used, and how often it may be.
func (i *inviteOutput) uses() string {
	if i.Uses == 0 {
		return fmt.Sprintf("%d of any number", i.Used)
	}
	return fmt.Sprintf("%d of %d", i.Used, i.Uses)
}

func (a *app) dbInvites() *cobra.Command {
	cmd := a.newCommand("invites DB", "List the invites to a database", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.Databases.Invites(ctx, connect.NewRequest(&weftv1.InvitesRequest{Name: args[0]}))
			if err != nil {
				return err
			}
			out := []inviteOutput{}
			for _, i := range r.Msg.GetInvites() {
				out = append(out, inviteOutput{i.GetId(), i.GetRole(), i.GetUses(), i.GetUsed(), when(i.GetExpires()), i.GetState(), i.GetCreator()})
			}
			return a.print(out, func(w io.Writer) {
				rows := [][]string{{"ID", "ROLE", "USES", "EXPIRES", "STATE", "MADE BY"}}
				for _, i := range out {
					expires := "never"
					if i.Expires != nil {
						expires = short(i.Expires)
					}
					rows = append(rows, []string{i.ID, i.Role, i.uses(), expires, i.State, i.Creator})
				}
				table(w, rows...)
			})
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
