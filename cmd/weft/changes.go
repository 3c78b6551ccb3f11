package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/cmd/weft/internal/words"
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
	Late       bool            `json:"late,omitempty"`
	Current    bool            `json:"current,omitempty"`
	Log        string          `json:"log,omitempty"`
	Seq        uint64          `json:"seq,omitempty"`
	Time       *string         `json:"time"`
	Token      string          `json:"token"`
}

func changeOf(m *weftv1.WatchResponse) changeOutput {
	out := changeOutput{
		Operation: m.GetOperation(), Collection: m.GetCollection(), Remote: m.GetRemote(), Time: words.When(m.GetTime()), Token: m.GetToken(),
		Late: m.GetLate(), Current: m.GetCurrent(), Log: m.GetLog(), Seq: m.GetSeq(),
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

// watchable are the operations that can be watched.
var watchable = []string{"insert", "update", "replace", "delete", "refused", "cleared", "conflict", "resolved"}

func (a *app) watchCommand() *cobra.Command {
	var limit int
	var id string
	var m weftv1.WatchRequest
	cmd := a.newCommand("watch DB [COLLECTION [FILTER]]", "Print changes as they happen, one per line", 1, 3,
		func(ctx context.Context, c *client.Client, args []string) (err error) {
			if !slices.Contains([]string{"after", "before", "either"}, m.Match) {
				return usagef("invalid --match %q: want after, before or either", m.Match)
			}
			for _, o := range m.Operations {
				if !slices.Contains(watchable, o) {
					return usagef("invalid --operations %q: want some of %s", o, strings.Join(watchable, ", "))
				}
			}
			if c.InProcess() {
				return errAlone
			}
			m.Database, m.Collection = args[0], append(args, "")[1]
			if m.Filter, err = filter(args, 2); err != nil {
				return err
			}
			if id != "" {
				if m.Id, err = oneID(id); err != nil {
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
	cmd.Flags().IntVar(&limit, "limit", 0, "stop after N changes; 0 never stops")
	cmd.Flags().StringVar(&m.ResumeAfter, "resume", "", "resume after the change with this token")
	cmd.Flags().StringVar(&m.Match, "match", "after", "the document that FILTER is tested on: after the change, before it, or either, which shows documents that stop matching too")
	cmd.Flags().StringVar(&id, "id", "", "only the document with this _id")
	cmd.Flags().StringSliceVar(&m.Operations, "operations", nil, "only these: insert, update, replace, delete (the default), refused, cleared, conflict, resolved")
	return cmd
}

// oneID returns {_id: …} of an _id that a person wrote: a value of Extended JSON,
// or else a string.
func oneID(text string) ([]byte, error) {
	v, err := client.Value([]byte(text))
	if err != nil {
		return bson.Marshal(bson.D{{Key: "_id", Value: text}})
	}
	return bson.Marshal(bson.D{{Key: "_id", Value: v}})
}
