package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node/client"
)

func (a *app) inboxCommand() *cobra.Command {
	return newGroup("inbox", "Sealed messages between people", a.inboxSetup(), a.inboxSend(), a.inboxList(), a.inboxRead(), a.inboxRemove())
}

func (a *app) inboxSetup() *cobra.Command {
	return a.newCommand("setup", "Have the relays keep messages for you, and print your address", 0, 0,
		func(ctx context.Context, c *client.Client, _ []string) error {
			r, err := c.Inbox.Setup(ctx, connect.NewRequest(&weftv1.SetupInboxRequest{}))
			if err != nil {
				return err
			}
			address := r.Msg.GetAddress()
			return a.print(map[string]string{"address": address}, func(w io.Writer) { fmt.Fprintln(w, address) })
		})
}

func (a *app) inboxSend() *cobra.Command {
	return a.newCommand("send TO [TEXT | -]", "Send a message to did:key… or did:key…@MULTIADDR; - reads it", 1, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			text, err := a.argument(append(args, "-")[1])
			if err != nil {
				return err
			}
			r, err := c.Inbox.Send(ctx, connect.NewRequest(&weftv1.SendRequest{To: args[0], Text: text}))
			if err != nil {
				return err
			}
			out := struct {
				ID     string `json:"id"`
				State  string `json:"state"`
				Reason string `json:"reason,omitempty"`
			}{r.Msg.GetId(), r.Msg.GetState(), r.Msg.GetReason()}
			return a.print(out, func(w io.Writer) {
				fmt.Fprintf(w, "%s %s", out.ID, out.State)
				if out.Reason != "" {
					fmt.Fprintf(w, ": %s", plain(out.Reason))
				}
				fmt.Fprintln(w)
			})
		})
}

// A messageOutput is a message; a list leaves its text out.
type messageOutput struct {
	ID   string  `json:"id"`
	From string  `json:"from"`
	To   string  `json:"to"`
	Time *string `json:"time"`
	Read bool    `json:"read"`
	Size int64   `json:"size"`
	Text *string `json:"text,omitempty"`
}

func messageOf(m *weftv1.Message) messageOutput {
	return messageOutput{m.GetId(), m.GetFrom(), m.GetTo(), when(m.GetTime()), m.GetRead(), m.GetSize(), nil}
}

func (a *app) inboxList() *cobra.Command {
	var wait uint32
	var timeout time.Duration
	cmd := a.newCommand("ls", "List the messages", 0, 0,
		func(ctx context.Context, c *client.Client, _ []string) error {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			r, err := c.Inbox.List(ctx, connect.NewRequest(&weftv1.ListMessagesRequest{Wait: wait}))
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("not %d messages within %s: %w", wait, timeout, context.DeadlineExceeded)
			}
			if err != nil {
				return err
			}
			var rows [][]string
			for _, m := range r.Msg.GetMessages() {
				out := messageOf(m)
				if a.json {
					if err := a.line(out); err != nil {
						return err
					}
				}
				mark := "new"
				if out.Read {
					mark = "read"
				}
				rows = append(rows, []string{out.ID, mark, short(out.Time), out.From})
			}
			if a.json {
				return nil
			}
			return a.print(nil, func(w io.Writer) { table(w, append([][]string{{"ID", "STATE", "TIME", "FROM"}}, rows...)...) })
		})
	cmd.Flags().Uint32Var(&wait, "wait", 0, "wait until there are N messages")
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait")
	return cmd
}

func (a *app) inboxRead() *cobra.Command {
	return a.newCommand("read ID", "Print a message and mark it read", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.Inbox.Read(ctx, connect.NewRequest(&weftv1.ReadMessageRequest{Id: args[0]}))
			if err != nil {
				return err
			}
			out := messageOf(r.Msg.GetMessage())
			text := r.Msg.GetMessage().GetText()
			out.Text = &text
			return a.print(out, func(w io.Writer) {
				fmt.Fprintf(w, "from %s\nat   %s\n\n%s\n", out.From, short(out.Time), text)
			})
		})
}

func (a *app) inboxRemove() *cobra.Command {
	return a.newCommand("rm ID", "Remove a message", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			_, err := c.Inbox.Remove(ctx, connect.NewRequest(&weftv1.RemoveMessageRequest{Id: args[0]}))
			return a.done(err)
		})
}
