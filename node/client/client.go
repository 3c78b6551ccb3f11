// Package client speaks to a node, for the command line and Go programs: to a
// running daemon over HTTP, or else to the home itself, which it opens in this
// process and serves the same API from.
//
//	Open ── Client ── one RPC client for each service
//	OpenRemote ──┘       of a hub elsewhere, by a key or as a user: remote.go
//	transport.go      how calls travel: to a daemon, or to a handler in this process
//	errors.go         errors of calls, of the kind that they had at the node
//	Document, Value, Text      Extended JSON, as people write documents
package client

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/api/weft/v1/weftv1connect"
	"github.com/weftdb/weft/node/rpc"
)

// maxWait is how long Open waits for another command to let go of the home.
const maxWait = 10 * time.Second

// Options say where the node is.
type Options struct {
	// Home is the data folder; required. With API it gives the token only.
	Home string
	// API is the address of a daemon, host:port or an http URL; "" means the
	// daemon of Home, or Home itself if none runs.
	API string
	// Engine is the store's engine if Home is made here; "" is the default. A home of
	// another engine is an error.
	Engine string
	// Passphrase opens, and seals new, key files if Home is opened here; nil
	// means they are not sealed.
	Passphrase []byte
}

// A Client calls one node. It is safe for concurrent use; the caller owes Close.
type Client struct {
	Node      weftv1connect.NodeServiceClient
	Sessions  weftv1connect.SessionServiceClient
	Spaces    weftv1connect.SpaceServiceClient
	Keys      weftv1connect.KeyServiceClient
	Relays    weftv1connect.RelayServiceClient
	Databases weftv1connect.DatabaseServiceClient
	Devices   weftv1connect.DeviceServiceClient
	Documents weftv1connect.DocumentServiceClient
	Buckets   weftv1connect.BucketServiceClient
	Inbox     weftv1connect.InboxServiceClient

	http  *http.Client
	local *node.Node // nil if a daemon is called
	end   func()     // ends the calls of local
}

// Open finds the node and returns a client of it. ctx bounds Open only. A command that
// finds the home in use by another command, and no daemon, waits for that one to end: it
// may be short. A daemon that has the lock and has not announced itself yet is waited for
// in the same way.
func Open(ctx context.Context, o Options) (*Client, error) {
	if o.API != "" {
		return dial(o.API, o.Home)
	}
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	again := time.NewTicker(25 * time.Millisecond)
	defer again.Stop()
	for {
		// The lock tells whether a process has the home open; what the home says
		// of a daemon may be out of date.
		n, err := node.Open(ctx, node.Config{Home: o.Home, Passphrase: o.Passphrase, Engine: o.Engine})
		if err == nil {
			return inProcess(n), nil
		}
		if !errors.Is(err, node.ErrHomeInUse) {
			return nil, err
		}
		if d, derr := node.ReadDaemon(o.Home); derr == nil && d.API != "" {
			return dial(d.API, o.Home)
		} else if derr != nil && !errors.Is(derr, fs.ErrNotExist) { // it is written as a whole
			return nil, derr
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-again.C:
		}
	}
}

// Base reads the address of an API, host:port or a URL.
func Base(addr string) (*url.URL, error) {
	text := addr
	if !strings.Contains(addr, "://") {
		text = "http://" + addr
	}
	u, err := url.Parse(strings.TrimSuffix(text, "/"))
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || u.Port() == "") {
		return nil, fault.Errorf(fault.Usage, "invalid --api %.120q: want host:port or https://host:port", addr)
	}
	return u, nil
}

// dial returns a client of a daemon; nothing is sent yet.
func dial(addr, home string) (*Client, error) {
	base, err := Base(addr)
	if err != nil {
		return nil, err
	}
	token, err := node.ReadToken(home)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Of(node.ErrInvalid, "%s has no api.token, so it is not the home of the daemon at %s: give that home with --home, or omit --api and WEFT_API", home, addr)
	}
	if err != nil {
		return nil, err
	}
	return newClient(base.String(), &authorized{next: newDaemonTransport(), token: token}), nil
}

// inProcess has n answer in this process; Close ends it.
func inProcess(n *node.Node) *Client {
	t := newHandlerTransport(rpc.Handler(n))
	c := newClient("http://localhost", &authorized{next: t, token: n.Token()})
	c.local = n
	c.end = t.close
	return c
}

// newClient returns a client that calls by t. A redirect is an answer: what follows it would carry
// a token to whom it names.
func newClient(base string, t transport) *Client {
	h := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	kinds := connect.WithInterceptors(errorInterceptor{})
	return &Client{
		Node:      weftv1connect.NewNodeServiceClient(h, base, kinds),
		Sessions:  weftv1connect.NewSessionServiceClient(h, base, kinds),
		Spaces:    weftv1connect.NewSpaceServiceClient(h, base, kinds),
		Keys:      weftv1connect.NewKeyServiceClient(h, base, kinds),
		Relays:    weftv1connect.NewRelayServiceClient(h, base, kinds),
		Databases: weftv1connect.NewDatabaseServiceClient(h, base, kinds),
		Devices:   weftv1connect.NewDeviceServiceClient(h, base, kinds),
		Documents: weftv1connect.NewDocumentServiceClient(h, base, kinds),
		Buckets:   weftv1connect.NewBucketServiceClient(h, base, kinds),
		Inbox:     weftv1connect.NewInboxServiceClient(h, base, kinds),
		http:      h,
	}
}

// Created reports whether Open made the identity or the device of the home.
func (c *Client) Created() bool { return c.local != nil && c.local.Created() }

// InProcess reports whether the node runs in this process, which holds its home.
func (c *Client) InProcess() bool { return c.local != nil }

// Sealed reports whether a passphrase seals the key files of the home that Open
// opened in this process.
func (c *Client) Sealed() bool { return c.local != nil && c.local.Sealed() }

// Close ends the client, and the node if it runs in this process. The calls end first, so
// that none of them meets a node that is closed under it.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	if c.local == nil {
		return nil
	}
	c.end()
	return c.local.Close()
}

// authorized adds the administrator's token to every request.
type authorized struct {
	next  transport
	token keys.Secret
}

func (a *authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(a.token.Reveal()))
	return a.next.RoundTrip(r)
}

func (a *authorized) CloseIdleConnections() { a.next.CloseIdleConnections() }
