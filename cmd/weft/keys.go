package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/weftdb/weft/cmd/weft/internal/words"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node/client"
)

func (a *app) keyCommand() *cobra.Command {
	return newParent("key", "Manage the API keys by which others use this node as their relay",
		a.keyCreate(), a.keyList(), a.keyShow(), a.keyRevoke())
}

// A keyOutput is a key without its secret, which is shown once only.
type keyOutput struct {
	Key     string   `json:"key"`
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Owner   string   `json:"owner"`
	Signing bool     `json:"signing"`
	Scopes  []string `json:"scopes"`
	Created *string  `json:"created"`
	Expires *string  `json:"expires"`
	Revoked *string  `json:"revoked"`
}

func keyOf(k *weftv1.Key) keyOutput {
	return keyOutput{
		k.GetId(), k.GetType(), k.GetName(), k.GetOwner(), k.GetSigning(), words.List(k.GetScopes()),
		words.When(k.GetCreated()), words.When(k.GetExpires()), words.When(k.GetRevoked()),
	}
}

func (a *app) keyCreate() *cobra.Command {
	var m weftv1.CreateKeyRequest
	var expires time.Duration
	cmd := a.newCommand("create --type account|user", "Create a key; the secret is shown only once", 0, 0,
		func(ctx context.Context, c *client.Client, _ []string) error {
			if m.GetType() != "account" && m.GetType() != "user" {
				return usagef("invalid --type %q: want account or user", m.GetType())
			}
			if expires < 0 || expires > 0 && expires < time.Second {
				return usagef("invalid --expires %q: want at least 1s, or 0 to never expire", expires)
			}
			m.ExpiresSeconds = int64(expires / time.Second)
			r, err := c.Keys.Create(ctx, connect.NewRequest(&m))
			if err != nil {
				return err
			}
			k := r.Msg.GetKey()
			out := struct {
				Key     string  `json:"key"`
				Secret  string  `json:"secret"`
				Type    string  `json:"type"`
				Expires *string `json:"expires,omitempty"`
			}{k.GetId(), r.Msg.GetSecret(), k.GetType(), words.When(k.GetExpires())}
			return a.print(out, func(w io.Writer) {
				secret := out.Secret
				if secret == "" {
					secret = "(none: a non-signing key, for development only)"
				}
				fmt.Fprintf(w, "KEY     %s\nSECRET  %s\nTYPE    %s\n", out.Key, secret, out.Type)
				if out.Expires != nil {
					fmt.Fprintf(w, "EXPIRES %s\n", words.Short(out.Expires))
				}
			})
		})
	f := cmd.Flags()
	f.StringVar(&m.Type, "type", "", "account (for the owner's own resources) or user (for those of an app's users)")
	f.StringVar(&m.Name, "name", "", "name to show in lists")
	f.BoolVar(&m.NoSign, "no-sign", false, "create a key that needs no secret and expires, for development only")
	f.StringSliceVar(&m.Scopes, "scopes", nil, "what the key permits, such as thread,inbox (default thread,inbox,pin,db)")
	f.DurationVar(&expires, "expires", 0, "how long the key is valid, such as 720h (default never expires)")
	return cmd
}

func (a *app) keyList() *cobra.Command {
	return a.newCommand("ls", "List the keys", 0, 0,
		func(ctx context.Context, c *client.Client, _ []string) error {
			r, err := c.Keys.List(ctx, connect.NewRequest(&weftv1.ListKeysRequest{}))
			if err != nil {
				return err
			}
			out := []keyOutput{}
			for _, k := range r.Msg.GetKeys() {
				out = append(out, keyOf(k))
			}
			return a.print(out, func(w io.Writer) {
				rows := [][]string{{"KEY", "TYPE", "NAME", "EXPIRES", "REVOKED"}}
				for _, k := range out {
					rows = append(rows, []string{k.Key, k.Type, k.Name, words.Short(k.Expires), words.Short(k.Revoked)})
				}
				words.Table(w, rows...)
			})
		})
}

func (a *app) printKey(k *weftv1.Key) error {
	out := keyOf(k)
	return a.print(out, func(w io.Writer) {
		words.Table(w, []string{"key", out.Key}, []string{"type", out.Type}, []string{"name", out.Name}, []string{"owner", out.Owner},
			[]string{"signing", fmt.Sprint(out.Signing)}, []string{"scopes", strings.Join(out.Scopes, ",")},
			[]string{"created", words.Short(out.Created)}, []string{"expires", words.Short(out.Expires)}, []string{"revoked", words.Short(out.Revoked)})
	})
}

func (a *app) keyShow() *cobra.Command {
	return a.newCommand("show KEY", "Show a key, without its secret", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.Keys.Show(ctx, connect.NewRequest(&weftv1.ShowKeyRequest{Id: args[0]}))
			if err != nil {
				return err
			}
			return a.printKey(r.Msg.GetKey())
		})
}

func (a *app) keyRevoke() *cobra.Command {
	return a.newCommand("revoke KEY", "Revoke a key permanently and disconnect peers that use it", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.Keys.Revoke(ctx, connect.NewRequest(&weftv1.RevokeKeyRequest{Id: args[0]}))
			if err != nil {
				return err
			}
			return a.printKey(r.Msg.GetKey())
		})
}
