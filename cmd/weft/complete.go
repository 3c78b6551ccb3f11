package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/weftdb/weft/cmd/weft/internal/remote"
	"github.com/weftdb/weft/cmd/weft/internal/tty"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node/client"
)

// maxCompletion is how long a person who pressed Tab waits for names.
const maxCompletion = 2 * time.Second

// A completion is what cobra asks for the words that an argument may be.
type completion = func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective)

// kinds are what arguments name, by their word in a command's use line: names is called with
// at least so many arguments before as it needs.
var kinds = map[string]struct {
	needs int
	names func(ctx context.Context, a *app, c *client.Client, args []string) ([]string, error)
}{
	"DB":         {0, databaseNames},
	"COLLECTION": {1, collectionNames},
	"BUCKET":     {0, bucketNames},
	"KEY":        {0, keyNames},
	"RELAY":      {0, relayNames},
	"INDEX":      {2, indexNames},
	"WHO":        {1, identityNames},
	"JOIN":       {1, joinNames},
	"INVITE":     {1, inviteNames},
	"ROLE": {0, func(context.Context, *app, *client.Client, []string) ([]string, error) {
		return []string{"owner", "admin", "writer", "reader"}, nil
	}},
}

// complete returns what completes the arguments of a command by its use line. It asks the
// node, makes no home and asks for no passphrase: where it cannot know it says nothing.
func (a *app) complete(use string) completion {
	words := strings.Fields(use)[1:]
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(words) == 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		i := min(len(args), len(words)-1)
		word := strings.Trim(words[i], "[]…")
		if strings.Contains(words[i], "FILE") || strings.Contains(words[i], "DIR") {
			return nil, cobra.ShellCompDirectiveDefault
		}
		if cmd.Parent() != nil && cmd.Parent().Name() == "bucket" && word == "NAME" {
			word = "BUCKET"
		}
		if cmd.Parent() != nil && cmd.Parent().Name() == "collection" && word == "NAME" && cmd.Name() != "create" {
			word = "COLLECTION"
		}
		if cmd.Parent() != nil && cmd.Parent().Name() == "index" && word == "NAME" {
			word = "INDEX"
		}
		if cmd.Name() == "create" && cmd.Parent().Name() == "bucket" || len(args) > i && !strings.HasSuffix(words[i], "…") {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.names(cmd.Context(), word, args, begun), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeDatabase has a flag completed with names of databases.
func (a *app) completeDatabase(cmd *cobra.Command, flag string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return a.names(cmd.Context(), "DB", nil, begun), cobra.ShellCompDirectiveNoFileComp
	}) // the flag is there
}

// names returns the names of a kind that go on from what was begun.
func (a *app) names(ctx context.Context, kind string, args []string, begun string) (out []string) {
	list, known := kinds[kind]
	if !known || len(args) < list.needs {
		return nil
	}
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, maxCompletion)
	defer cancel()
	c := a.shared
	if c == nil {
		if a.defaults() != nil || a.existing() != nil || a.safe() != nil {
			return nil
		}
		var err error
		if secret, serr := remote.Secret(a.api, a.secretFile); serr != nil {
			return nil
		} else if secret != nil {
			c, err = client.OpenRemote(client.RemoteOptions{URL: remote.URL(a.api), Secret: secret})
		} else {
			c, err = client.Open(ctx, client.Options{Home: a.home, API: a.api, Passphrase: a.passphrase})
		}
		if err != nil {
			return nil
		}
		defer func() { _ = c.Close() }() // nothing was written
	}
	all, err := list.names(ctx, a, c, args)
	if err != nil {
		return nil
	}
	for _, name := range all {
		if strings.HasPrefix(name, begun) && tty.Printable(name) == name && !strings.ContainsAny(name, " \t") {
			out = append(out, name)
		}
	}
	return out
}

func databaseNames(ctx context.Context, _ *app, c *client.Client, _ []string) (out []string, err error) {
	r, err := c.Databases.List(ctx, connect.NewRequest(&weftv1.ListDatabasesRequest{}))
	if err != nil {
		return nil, err
	}
	for _, d := range r.Msg.GetDatabases() {
		out = append(out, d.GetName())
	}
	return out, nil
}

func collectionNames(ctx context.Context, a *app, c *client.Client, args []string) (out []string, err error) {
	all, err := a.collections(ctx, c, args[0])
	for _, x := range all {
		out = append(out, x.Name)
	}
	return out, err
}

func indexNames(ctx context.Context, a *app, c *client.Client, args []string) (out []string, err error) {
	all, err := a.listIndexes(ctx, c, args[0], args[1])
	for _, x := range all {
		out = append(out, x.Name)
	}
	return out, err
}

func bucketNames(ctx context.Context, _ *app, c *client.Client, _ []string) (out []string, err error) {
	r, err := c.Buckets.List(ctx, connect.NewRequest(&weftv1.ListBucketsRequest{}))
	if err != nil {
		return nil, err
	}
	for _, b := range r.Msg.GetBuckets() {
		out = append(out, b.GetName())
	}
	return out, nil
}

func keyNames(ctx context.Context, _ *app, c *client.Client, _ []string) (out []string, err error) {
	r, err := c.Keys.List(ctx, connect.NewRequest(&weftv1.ListKeysRequest{}))
	if err != nil {
		return nil, err
	}
	for _, k := range r.Msg.GetKeys() {
		out = append(out, k.GetId())
	}
	return out, nil
}

func relayNames(ctx context.Context, _ *app, c *client.Client, _ []string) (out []string, err error) {
	r, err := c.Relays.List(ctx, connect.NewRequest(&weftv1.ListRelaysRequest{}))
	if err != nil {
		return nil, err
	}
	for _, x := range r.Msg.GetRelays() {
		out = append(out, x.GetPeer())
	}
	return out, nil
}

// membersOf gives who takes part in the database of the first argument, and who waits.
func membersOf(ctx context.Context, c *client.Client, args []string) (*weftv1.MembersResponse, error) {
	r, err := c.Databases.Members(ctx, connect.NewRequest(&weftv1.MembersRequest{Name: args[0]}))
	if err != nil {
		return nil, err
	}
	return r.Msg, nil
}

func identityNames(ctx context.Context, _ *app, c *client.Client, args []string) (out []string, err error) {
	all, err := membersOf(ctx, c, args)
	for _, m := range all.GetMembers() {
		if !slices.Contains(out, m.GetIdentity()) {
			out = append(out, m.GetIdentity())
		}
	}
	return out, err
}

func joinNames(ctx context.Context, _ *app, c *client.Client, args []string) (out []string, err error) {
	all, err := membersOf(ctx, c, args)
	for _, j := range all.GetWaiting() {
		out = append(out, j.GetId())
	}
	return out, err
}

func inviteNames(ctx context.Context, _ *app, c *client.Client, args []string) (out []string, err error) {
	r, err := c.Databases.Invites(ctx, connect.NewRequest(&weftv1.InvitesRequest{Name: args[0]}))
	if err != nil {
		return nil, err
	}
	for _, i := range r.Msg.GetInvites() {
		out = append(out, i.GetId())
	}
	return out, nil
}
