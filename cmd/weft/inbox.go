package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/cmd/weft/internal/words"
	"github.com/weftdb/weft/internal/fault"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node/client"
)

func (a *app) inboxCommand() *cobra.Command {
	return newParent("inbox", "Send and read sealed messages", a.inboxSetup(), a.inboxSend(), a.inboxList(), a.inboxRead(), a.inboxRemove(), a.inboxSent(), a.inboxWatch())
}

func (a *app) inboxSetup() *cobra.Command {
	return a.newCommand("setup", "Have the relays store messages for you, and print your address", 0, 0,
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
	return a.newCommand("send TO [TEXT | -]", "Send a message to did:key… or did:key…@MULTIADDR; - reads it from standard input", 1, 2,
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
					fmt.Fprintf(w, ": %s", tty.Printable(out.Reason))
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
	return messageOutput{m.GetId(), m.GetFrom(), m.GetTo(), words.When(m.GetTime()), m.GetRead(), m.GetSize(), nil}
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
				return fault.Errorf(fault.Timeout, "fewer than %s within %s", words.Count(int64(wait), "message"), timeout)
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
				rows = append(rows, []string{out.ID, mark, words.Short(out.Time), out.From})
			}
			if a.json {
				return nil
			}
			return a.print(nil, func(w io.Writer) { words.Table(w, append([][]string{{"ID", "STATE", "TIME", "FROM"}}, rows...)...) })
		})
	cmd.Flags().Uint32Var(&wait, "wait", 0, "wait until there are at least N messages")
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long to wait")
	return cmd
}

func (a *app) inboxRead() *cobra.Command {
	return a.newCommand("read ID", "Print a message and mark it as read", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.Inbox.Read(ctx, connect.NewRequest(&weftv1.ReadMessageRequest{Id: args[0]}))
			if err != nil {
				return err
			}
			out := messageOf(r.Msg.GetMessage())
			text := r.Msg.GetMessage().GetText()
			out.Text = &text
			return a.print(out, func(w io.Writer) {
				fmt.Fprintf(w, "from %s\nat   %s\n\n%s\n", tty.Printable(out.From), words.Short(out.Time), text)
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

// A sentOutput is a message that was sent, and how far it is.
type sentOutput struct {
	ID     string  `json:"id"`
	To     string  `json:"to"`
	At     string  `json:"at,omitempty"`
	Time   *string `json:"time"`
	State  string  `json:"state"`
	Reason string  `json:"reason,omitempty"`
	Size   int64   `json:"size"`
}

func (a *app) inboxSent() *cobra.Command {
	return a.newCommand("sent", "List sent messages and how far each was delivered", 0, 0,
		func(ctx context.Context, c *client.Client, _ []string) error {
			r, err := c.Inbox.Sent(ctx, connect.NewRequest(&weftv1.SentRequest{}))
			if err != nil {
				return err
			}
			rows := [][]string{{"ID", "STATE", "TIME", "TO", "REASON"}}
			for _, m := range r.Msg.GetMessages() {
				out := sentOutput{m.GetId(), m.GetTo(), m.GetAt(), words.When(m.GetTime()), m.GetState(), m.GetReason(), m.GetSize()}
				if a.json {
					if err := a.line(out); err != nil {
						return err
					}
				}
				rows = append(rows, []string{out.ID, out.State, words.Short(out.Time), out.To, out.Reason})
			}
			if a.json {
				return nil
			}
			return a.print(nil, func(w io.Writer) { words.Table(w, rows...) })
		})
}

func (a *app) inboxWatch() *cobra.Command {
	var limit int
	var m weftv1.WatchInboxRequest
	cmd := a.newCommand("watch", "Print messages as they arrive, after those already there, one per line", 0, 0,
		func(ctx context.Context, c *client.Client, _ []string) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			stream, err := c.Inbox.Watch(ctx, connect.NewRequest(&m))
			if err != nil {
				return err
			}
			for seen := 0; (limit == 0 || seen < limit) && stream.Receive(); {
				x := stream.Msg().GetMessage()
				if x == nil {
					if terminal(a.err) {
						fmt.Fprintln(a.err, "watching")
					}
					continue
				}
				if err := a.printWatched(messageOf(x)); err != nil {
					return err
				}
				seen++
			}
			stopped := ctx.Err() != nil
			err = stream.Err()
			cancel()
			_ = stream.Close() // its end was ours
			if stopped {
				return nil
			}
			return err
		})
	cmd.Flags().IntVar(&limit, "limit", 0, "stop after N messages; 0 never stops")
	cmd.Flags().BoolVar(&m.Unread, "unread", false, "omit messages that were read")
	return cmd
}

func (a *app) printWatched(m messageOutput) error {
	if a.json {
		return a.line(m)
	}
	_, err := fmt.Fprintf(a.out, "%s %s from %s\n", words.Short(m.Time), m.ID, tty.Printable(m.From))
	return err
}
