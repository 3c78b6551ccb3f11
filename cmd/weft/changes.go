package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node/client"
)

// A changeOutput is one change of one document, or a gap.
type changeOutput struct {
	Operation  string          `json:"operation"`
	Collection string          `json:"collection,omitempty"`
	ID         json.RawMessage `json:"id,omitempty"`
	After      json.RawMessage `json:"after,omitempty"`
	Before     json.RawMessage `json:"before,omitempty"`
	Remote     bool            `json:"remote"`
	Time       *string         `json:"time"`
	Token      string          `json:"token"`
}

func changeOf(m *weftv1.WatchResponse) changeOutput {
	out := changeOutput{
		Operation: m.GetOperation(), Collection: m.GetCollection(), Remote: m.GetRemote(), Time: when(m.GetTime()), Token: m.GetToken(),
	}
	if len(m.GetId()) > 0 {
		out.ID = client.IDText(m.GetId())
	}
	if len(m.GetAfter()) > 0 {
		out.After = client.Text(nil, m.GetAfter())
	}
	if len(m.GetBefore()) > 0 {
		out.Before = client.Text(nil, m.GetBefore())
	}
	return out
}

func (a *app) watchCommand() *cobra.Command {
	var limit int
	var m weftv1.WatchRequest
	cmd := a.newCommand("watch DB [COLLECTION [FILTER]]", "Print changes as they happen, one a line", 1, 3,
		func(ctx context.Context, c *client.Client, args []string) (err error) {
			m.Database, m.Collection = args[0], append(args, "")[1]
			if len(args) == 3 {
				if m.Filter, err = document("filter", args[2]); err != nil {
					return err
				}
			}
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			stream, err := c.Documents.Watch(ctx, connect.NewRequest(&m))
			if err != nil {
				return err
			}
			for seen := 0; (limit == 0 || seen < limit) && stream.Receive(); {
				if stream.Msg().GetOperation() == "" {
					if terminal(a.err) {
						fmt.Fprintln(a.err, "watching")
					}
					continue
				}
				if err := a.line(changeOf(stream.Msg())); err != nil {
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
	cmd.Flags().IntVar(&limit, "limit", 0, "end after N changes; 0 never")
	cmd.Flags().StringVar(&m.ResumeAfter, "resume", "", "token of the last change seen")
	return cmd
}

func (a *app) refusedCommand() *cobra.Command {
	return a.newCommand("refused DB", "Print the operations that were refused at their place, one a line", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			stream, err := c.Documents.Refused(ctx, connect.NewRequest(&weftv1.RefusedRequest{Database: args[0]}))
			if err != nil {
				return err
			}
			for stream.Receive() {
				m := stream.Msg()
				out := struct {
					Collection string          `json:"collection"`
					ID         json.RawMessage `json:"id,omitempty"`
					Operation  string          `json:"operation"`
					Reason     string          `json:"reason"`
					Message    string          `json:"message"`
					Log        string          `json:"log"`
					Seq        uint64          `json:"seq"`
					Time       *string         `json:"time"`
				}{m.GetCollection(), nil, m.GetOperation(), m.GetReason(), m.GetMessage(), m.GetLog(), m.GetSeq(), when(m.GetTime())}
				if len(m.GetId()) > 0 {
					out.ID = client.IDText(m.GetId())
				}
				if err := a.line(out); err != nil {
					return errors.Join(err, stream.Close())
				}
			}
			return errors.Join(stream.Err(), stream.Close())
		})
}
