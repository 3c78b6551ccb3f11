package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/weftdb/weft/internal/fault"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/cmd/weft/internal/report"
	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/cmd/weft/internal/words"
	"github.com/weftdb/weft/node/client"
)

// maxLine bounds a URL or text that is read from standard input, in bytes.
const maxLine = 1 << 20

func (a *app) dbCommand() *cobra.Command {
	return newParent("db", "Manage databases", a.dbCreate(), a.dbList(), a.dbInfo(), a.dbStatus(), a.dbInvite(), a.dbInvites(), a.dbRevoke(), a.dbJoin(), a.dbMembers(), a.dbAdmit(), a.dbRole(), a.dbRemoveMember(), a.dbLeave(), a.dbTransfer(), a.dbRecover(), a.dbRotate(), a.dbCompact(), a.dbRemove(), a.dbImport())
}

type databaseOutput struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Damage string `json:"damage,omitempty"` // why it is not served
	Lost   string `json:"lost,omitempty"`   // what of it was lost or given up
}

func (a *app) printDatabase(d *weftv1.Database) error {
	out := databaseOutput{d.GetId(), d.GetName(), d.GetDamage(), d.GetLost()}
	return a.print(out, func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", tty.Printable(out.Name), out.ID) })
}

func (a *app) dbList() *cobra.Command {
	return a.newCommand("ls", "List the databases", 0, 0,
		func(ctx context.Context, c *client.Client, _ []string) error {
			r, err := c.Databases.List(ctx, connect.NewRequest(&weftv1.ListDatabasesRequest{}))
			if err != nil {
				return err
			}
			out := []databaseOutput{}
			for _, d := range r.Msg.GetDatabases() {
				out = append(out, databaseOutput{d.GetId(), d.GetName(), d.GetDamage(), d.GetLost()})
			}
			return a.print(out, func(w io.Writer) {
				rows := [][]string{{"NAME", "ID"}}
				for _, d := range out {
					row := []string{d.Name, d.ID}
					if d.Damage != "" {
						row = append(row, "DAMAGED: "+d.Damage)
					} else if d.Lost != "" {
						row = append(row, d.Lost)
					}
					rows = append(rows, row)
				}
				words.Table(w, rows...)
			})
		})
}

func (a *app) dbInfo() *cobra.Command {
	return a.newCommand("info DB", "Show a database: state hash, documents, records, heads", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.Databases.Info(ctx, connect.NewRequest(&weftv1.DatabaseInfoRequest{Name: args[0]}))
			if err != nil {
				return err
			}
			m := r.Msg
			out := struct {
				ID        string            `json:"id"`
				Name      string            `json:"name"`
				Hash      string            `json:"hash"`
				Documents int64             `json:"documents"`
				Records   int64             `json:"records"`
				Bytes     int64             `json:"bytes"`
				Heads     map[string]uint64 `json:"heads"`
			}{m.GetId(), m.GetName(), hex.EncodeToString(m.GetHash()), m.GetDocuments(), m.GetRecords(), m.GetBytes(), m.GetHeads()}
			if out.Heads == nil {
				out.Heads = map[string]uint64{}
			}
			return a.print(out, func(w io.Writer) {
				words.Table(w, []string{"name", out.Name}, []string{"id", out.ID}, []string{"state hash", out.Hash},
					[]string{"documents", fmt.Sprint(out.Documents)},
					[]string{"records", fmt.Sprintf("%d in %s, %s", out.Records, words.Count(int64(len(out.Heads)), "log"), words.Size(out.Bytes))})
			})
		})
}

func (a *app) printStatus(out report.Status) error { return a.print(out, out.Write) }

func (a *app) dbStatus() *cobra.Command {
	var wait string
	var watch bool
	var timeout time.Duration
	cmd := a.newCommand("status DB", "Show how a database compares with each peer's copy", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			m := &weftv1.DatabaseStatusRequest{Name: args[0]}
			if watch && wait != "" {
				return usagef("--watch and --wait exclude each other")
			}
			if watch {
				if limited := timeout; limited != waitFor {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, limited)
					defer cancel()
				}
				return a.watchStatus(ctx, c, m)
			}
			if wait != "" {
				return a.waitStatus(ctx, c, m, wait, timeout)
			}
			r, err := c.Databases.Status(ctx, connect.NewRequest(m))
			if err != nil {
				return err
			}
			return a.printStatus(report.StatusOf(args[0], r.Msg))
		})
	cmd.Flags().StringVar(&wait, "wait", "", "wait until every relay and connected member is in this state: identical, behind, ahead, diverged, refused, waiting or unreachable")
	cmd.Flags().BoolVar(&watch, "watch", false, "show each change of it until interrupted; on a terminal in one place")
	cmd.Flags().DurationVar(&timeout, "timeout", waitFor, "how long to wait; --watch goes on if it is not given")
	return cmd
}

// waitFor is how long a command waits if nobody says.
const waitFor = 2 * time.Minute

// erase has a terminal show what follows in the place of what it shows.
const erase = "\x1b[H\x1b[2J"

// watchStatus prints the status whenever it changes, until ctx ends.
func (a *app) watchStatus(ctx context.Context, c *client.Client, m *weftv1.DatabaseStatusRequest) error {
	stream, err := c.Databases.WatchStatus(ctx, connect.NewRequest(m))
	if err != nil {
		return err
	}
	people := terminal(a.out) && !a.json
	for stream.Receive() {
		out := report.StatusOf(m.GetName(), stream.Msg())
		if people {
			if _, err := fmt.Fprintf(tty.Raw(a.out), "%s", erase); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "%s at %s, until interrupted\n\n", tty.Printable(out.Name), time.Now().Format(time.TimeOnly))
		}
		if err := a.printStatus(out); err != nil {
			return errors.Join(err, stream.Close())
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return errors.Join(stream.Err(), stream.Close())
}

func (a *app) waitStatus(ctx context.Context, c *client.Client, m *weftv1.DatabaseStatusRequest, state string, timeout time.Duration) (err error) {
	switch state {
	case "identical", "behind", "ahead", "diverged", "refused", "waiting", "unreachable":
	default:
		return usagef("invalid --wait %q: want identical, behind, ahead, diverged, refused, waiting or unreachable", state)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, context.DeadlineExceeded)
	defer cancel()
	stream, err := c.Databases.WatchStatus(ctx, connect.NewRequest(m))
	if err != nil {
		return err
	}
	var last report.Status
	for stream.Receive() {
		last = report.StatusOf(m.GetName(), stream.Msg())
		if last.All(state) {
			cancel()
			_ = stream.Close()
			return a.printStatus(last)
		}
	}
	err = stream.Err()
	_ = stream.Close() // its end is known
	// The node hears of the deadline too, and may end the stream before us.
	if err == nil && ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fault.Errorf(fault.Timeout, "not %s within %s: %s", state, timeout, last)
	}
	return errors.Join(err, ctx.Err())
}

func (a *app) dbInvite() *cobra.Command {
	var m weftv1.InviteRequest
	var expires time.Duration
	cmd := a.newCommand("invite DB", "Print an invite URL: whoever has it can join", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			if expires < 0 || expires > 0 && expires < time.Second {
				return usagef("invalid --expires %q: want at least 1s, or 0 to never expire", expires)
			}
			if m.Role == "owner" || m.Role == "admin" {
				return usagef("invalid --role %q: nobody becomes one by an invite: invite a writer, and give it the role with weft db role", m.Role)
			}
			if m.Role != "writer" && m.Role != "reader" {
				return usagef("invalid --role %q: want writer or reader", m.Role)
			}
			if m.Uses < -1 || m.Uses == 0 {
				return usagef("invalid --uses \"%d\": want a number from 1, or -1 for unlimited", m.Uses)
			}
			if m.Name, m.ExpiresSeconds = args[0], int64(expires/time.Second); m.ExpiresSeconds == 0 {
				m.ExpiresSeconds = -1
			}
			r, err := c.Databases.Invite(ctx, connect.NewRequest(&m))
			if err != nil {
				return err
			}
			out := struct {
				URL string `json:"url"`
				ID  string `json:"id"`
			}{r.Msg.GetUrl(), r.Msg.GetId()}
			return a.print(out, func(w io.Writer) { fmt.Fprintln(w, out.URL) })
		})
	cmd.Long = "Print an invite URL: whoever has it can join as a writer or a reader. Nobody becomes an owner\n" +
		"or admin by an invite: weft db role makes one of a member. A removal closes all open invites.\n" +
		"Only an owner or admin can invite."
	f := cmd.Flags()
	f.StringVar(&m.Role, "role", "writer", "role of whoever joins: writer or reader")
	f.DurationVar(&expires, "expires", 24*time.Hour, "how long the invite is valid, such as 24h; 0 never expires")
	f.Int32Var(&m.Uses, "uses", 1, "how many can join with it; -1 for unlimited")
	return cmd
}

func (a *app) dbJoin() *cobra.Command {
	var name string
	cmd := a.newCommand("join URL|-", "Join a database with an invite URL; - reads it from standard input", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			url, err := a.argument(args[0])
			if err != nil {
				return err
			}
			r, err := c.Databases.Join(ctx, connect.NewRequest(&weftv1.JoinRequest{Url: strings.TrimSpace(url), Name: name}))
			if err != nil {
				return err
			}
			return a.printDatabase(r.Msg.GetDatabase())
		})
	cmd.Flags().StringVar(&name, "name", "", "name of the database on this node (default the name that its owner gave it)")
	return cmd
}

// argument returns an argument, or standard input for "-".
func (a *app) argument(arg string) (string, error) {
	if arg != "-" {
		return arg, nil
	}
	b, err := io.ReadAll(io.LimitReader(a.input, maxLine+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxLine {
		return "", usagef("standard input is longer than %d bytes", maxLine)
	}
	return string(b), nil
}

func (a *app) dbRemove() *cobra.Command {
	return a.newCommand("rm DB", "Remove a database from this node and delete its data", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			_, err := c.Databases.Remove(ctx, connect.NewRequest(&weftv1.RemoveDatabaseRequest{Name: args[0]}))
			return a.done(err)
		})
}

func (a *app) dbCompact() *cobra.Command {
	return a.newCommand("compact DB", "Cut off the history of a database and free its disk space", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.Databases.Compact(ctx, connect.NewRequest(&weftv1.CompactDatabaseRequest{Name: args[0]}))
			if err != nil {
				return err
			}
			m := r.Msg
			out := struct {
				Cut     bool   `json:"cut"`
				Reason  string `json:"reason,omitempty"`
				Records int64  `json:"records"`
				Refused int64  `json:"refused"`
				Before  int64  `json:"before"`
				After   int64  `json:"after"`

				Blobs     int64  `json:"blobs"`
				BlobBytes int64  `json:"blob_bytes"`
				BlobsKept string `json:"blobs_kept,omitempty"`

				Kept      *string `json:"kept_until,omitempty"`
				Objection string  `json:"objection,omitempty"`
			}{m.GetCut(), m.GetReason(), m.GetRecords(), m.GetRefused(), m.GetBefore(), m.GetAfter(), m.GetBlobs(), m.GetBlobBytes(), m.GetBlobsKept(), words.Until(m.GetKeptUntil()), m.GetObjection()}
			return a.print(out, func(w io.Writer) {
				if out.Reason != "" {
					fmt.Fprintf(w, "The history was not cut: %s.\n", tty.Printable(out.Reason))
				}
				report.PrintKept(w, out.Kept, out.Objection)
				fmt.Fprintf(w, "Deleted %s; the store now takes %s, before %s.\n", words.Count(out.Records, "record"), words.Size(out.After), words.Size(out.Before))
				switch {
				case out.BlobsKept != "":
					fmt.Fprintf(w, "Blocks of files were not looked for: %s.\n", tty.Printable(out.BlobsKept))
				case out.Blobs > 0:
					fmt.Fprintf(w, "Deleted %s of files, %s.\n", words.Count(out.Blobs, "block"), words.Size(out.BlobBytes))
				}
			})
		})
}
