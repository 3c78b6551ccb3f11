package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/cmd/weft/internal/words"
	"github.com/weftdb/weft/node/client"
)

// A refusedOutput is an operation that was rejected during merge.
type refusedOutput struct {
	Stamp      string          `json:"stamp"`
	Collection string          `json:"collection"`
	ID         json.RawMessage `json:"id,omitempty"`
	Operation  string          `json:"operation"`
	Reason     string          `json:"reason"`
	Message    string          `json:"message"`
	Log        string          `json:"log"`
	Seq        int64           `json:"seq"`
	Time       *string         `json:"time"`
	Handled    bool            `json:"handled"`
	Body       json.RawMessage `json:"body,omitempty"`
}

func refusedOf(doc bson.Raw) refusedOutput {
	var out refusedOutput
	for _, f := range []struct {
		name string
		to   *string
	}{
		{"stamp", &out.Stamp},
		{"collection", &out.Collection},
		{"operation", &out.Operation},
		{"reason", &out.Reason},
		{"message", &out.Message},
		{"log", &out.Log},
	} {
		*f.to, _ = doc.Lookup(f.name).StringValueOK()
	}
	out.Seq, _ = doc.Lookup("seq").AsInt64OK()
	out.Handled, _ = doc.Lookup("handled").BooleanOK()
	if ms, ok := doc.Lookup("time").DateTimeOK(); ok {
		t := time.UnixMilli(ms).UTC().Format(time.RFC3339Nano)
		out.Time = &t
	}
	if v, err := doc.LookupErr("id"); err == nil {
		out.ID = client.ValueText(v)
	}
	if v, err := doc.LookupErr("body"); err == nil {
		out.Body = client.ValueText(v)
	}
	return out
}

// A refusedFlags selects refused operations, or says what to do with some.
type refusedFlags struct {
	reasons                 []string
	log, since, until       string
	unhandled, newest, body bool
	skip, limit             int64
	retry, handled          []string
}

// command returns the command that lists a page.
func (o refusedFlags) command(collection string, skip, limit int64) (bson.D, error) {
	command := bson.D{{Key: "refused", Value: collection}}
	if len(o.reasons) > 0 {
		command = append(command, bson.E{Key: "reasons", Value: o.reasons})
	}
	if o.log != "" {
		command = append(command, bson.E{Key: "log", Value: o.log})
	}
	for _, t := range []struct{ flag, text string }{{"since", o.since}, {"until", o.until}} {
		if t.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, t.text)
		if err != nil {
			return nil, usagef("invalid --%s %q: want a time such as 2026-01-31T12:00:00Z", t.flag, t.text)
		}
		command = append(command, bson.E{Key: t.flag, Value: at})
	}
	return append(command, bson.E{Key: "unhandled", Value: o.unhandled}, bson.E{Key: "newest", Value: o.newest},
		bson.E{Key: "body", Value: o.body}, bson.E{Key: "skip", Value: skip}, bson.E{Key: "limit", Value: limit}), nil
}

func (a *app) refusedCommand() *cobra.Command {
	var o refusedFlags
	cmd := a.newCommand("refused DB [COLLECTION]", "Print the operations that were rejected during merge, one per line", 1, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			switch {
			case len(o.retry) > 0:
				return a.retryRefused(ctx, c, args[0], o.retry)
			case len(o.handled) > 0:
				return a.command(ctx, c, args[0], bson.D{{Key: "handleRefused", Value: o.handled}})
			}
			return a.listRefused(ctx, c, args[0], append(args, "")[1], o)
		})
	f := cmd.Flags()
	f.StringSliceVar(&o.reasons, "reason", nil, "only those with these reasons: duplicate_key, no_match, schema, rule, …")
	f.StringVar(&o.log, "log", "", "only those of this log, in hexadecimal")
	f.StringVar(&o.since, "since", "", "only those from this time on, such as 2026-01-31T12:00:00Z")
	f.StringVar(&o.until, "until", "", "only those before this time")
	f.BoolVar(&o.unhandled, "unhandled", false, "omit those that were retried or marked as handled")
	f.BoolVar(&o.newest, "newest", false, "print the newest first")
	f.BoolVar(&o.body, "body", false, "also print what each would have written")
	f.Int64Var(&o.skip, "skip", 0, "skip the first N operations")
	f.Int64Var(&o.limit, "limit", 0, "print at most N operations; 0 prints all")
	f.StringSliceVar(&o.retry, "retry", nil, "write the operation with this stamp again")
	f.StringSliceVar(&o.handled, "handled", nil, "mark the operation with this stamp as handled")
	return cmd
}

func (a *app) listRefused(ctx context.Context, c *client.Client, database, collection string, o refusedFlags) error {
	const page = 500
	for skip, left := o.skip, o.limit; ; {
		n := int64(page)
		if o.limit > 0 {
			n = min(n, left)
		}
		command, err := o.command(collection, skip, n)
		if err != nil {
			return err
		}
		reply, err := a.run(ctx, c, database, command)
		if err != nil {
			return err
		}
		docs, _ := reply.Lookup("refused").ArrayOK()
		values, err := docs.Values()
		if err != nil {
			return err
		}
		for _, v := range values {
			if doc, ok := v.DocumentOK(); ok {
				if err := a.line(refusedOf(doc)); err != nil {
					return err
				}
			}
		}
		more, _ := reply.Lookup("more").BooleanOK()
		skip, left = skip+int64(len(values)), left-int64(len(values))
		if !more || len(values) == 0 || o.limit > 0 && left <= 0 {
			return nil
		}
	}
}

func (a *app) retryRefused(ctx context.Context, c *client.Client, database string, stamps []string) error {
	var operations, changed int64
	for _, s := range stamps {
		reply, err := a.run(ctx, c, database, bson.D{{Key: "retryRefused", Value: s}})
		if err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
		n, _ := reply.Lookup("n").AsInt64OK()
		k, _ := reply.Lookup("nModified").AsInt64OK()
		operations, changed = operations+n, changed+k
	}
	return a.print(map[string]int64{"operations": operations, "changed": changed}, func(w io.Writer) {
		fmt.Fprintf(w, "%s written, %s changed\n", words.Count(operations, "operation"), words.Count(changed, "document"))
	})
}
