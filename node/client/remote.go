package client

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/keys/dpop"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
	"github.com/weftdb/weft/node/api/weft/v1/weftv1connect"
	"github.com/weftdb/weft/node/rpc"
)

// RemoteOptions say which hub to call, and as whom: by an account key, with Secret alone; or as a
// user, with User and Grant.
type RemoteOptions struct {
	// URL is the hub's, https://host or https://host:port, as its operator gives it out. http is
	// for a hub on this machine.
	URL string
	// Secret is that of an account key, for whose owner the client acts.
	Secret *keys.APISecret
	// User is the identity that the client acts as, and Grant asks for a grant of a user group key
	// for it at a hub: from the app's backend, which has the key's secret. It is asked for each
	// token.
	User  *keys.Identity
	Grant func(ctx context.Context, hub keys.PublicKey) (*keys.Grant, error)
	// Scopes narrow what the client may; nil means all that key and grant give.
	Scopes []keys.Scope
	// Hub is the hub's device key, if it is known; another one is refused.
	Hub keys.PublicKey
	// Bearer asks for tokens that are bound to nothing, which saves a signature at each call.
	Bearer bool
	// TLS says whom to trust; nil means the system's certificates.
	TLS *tls.Config
}

// OpenRemote returns a client of a hub. It gets a token at the first call, and another one before
// it ends; nothing is sent yet. What remote callers do not reach answers permission_denied.
func OpenRemote(o RemoteOptions) (*Client, error) {
	base, err := url.Parse(o.URL)
	if err != nil || base.Host == "" || base.User != nil || base.Path != "" && base.Path != "/" || base.RawQuery != "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, fault.Errorf(fault.Usage, "invalid address of a hub %.120q: want https://host or https://host:port", o.URL)
	}
	ip, err := netip.ParseAddr(base.Hostname())
	if loopback := base.Hostname() == "localhost" || err == nil && ip.Unmap().IsLoopback(); base.Scheme == "http" && !loopback {
		return nil, fault.Errorf(fault.Usage, "%s is not on this machine: call a hub by https", o.URL)
	}
	if (o.Secret == nil) == (o.User == nil) || (o.User == nil) != (o.Grant == nil) {
		return nil, fault.Errorf(fault.InvalidArgument, "a hub is called by an account key's secret, or as a user with grants")
	}
	base.Path = ""
	t := &remoteTransport{o: o, base: base, next: newRemoteTransport(o.TLS)}
	if !o.Bearer {
		if t.key, err = dpop.NewKey(); err != nil {
			return nil, err
		}
	}
	// The calls by which it gets tokens carry none.
	plain := &http.Client{Transport: t.next, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.sessions = weftv1connect.NewSessionServiceClient(plain, base.String(), connect.WithInterceptors(errorInterceptor{}))
	return newClient(base.String(), t), nil
}

// Delegate has the hub write for an identity, as which the client calls: databases that are made there then are the identity's. The hub reads what it
// hosts.
func (c *Client) Delegate(ctx context.Context, id *keys.Identity) error {
	o, err := c.Spaces.Offer(ctx, connect.NewRequest(&weftv1.OfferRequest{}))
	if err != nil {
		return err
	}
	to := keys.DevicePublic{}
	if to.Sign, err = keys.ParseDID(o.Msg.GetSign()); err != nil {
		return err
	}
	if copy(to.Seal[:], o.Msg.GetSeal()) != len(o.Msg.GetSeal()) || len(o.Msg.GetSeal()) != len(to.Seal) {
		return fault.Errorf(fault.Malformed, "the key of the hub's device has %d bytes", len(o.Msg.GetSeal()))
	}
	d, err := id.Delegate(to, keys.DelegateOptions{
		Rights: keys.RightCreate | keys.RightAdmit, Generation: o.Msg.GetGeneration(), Name: "hub", Issued: time.Now(),
	})
	if err != nil {
		return err
	}
	b, err := d.Encode()
	if err != nil {
		return err
	}
	_, err = c.Spaces.Delegate(ctx, connect.NewRequest(&weftv1.DelegateRequest{Delegation: b}))
	return err
}

func newRemoteTransport(c *tls.Config) *daemonTransport {
	both, h2 := new(http.Protocols), new(http.Protocols)
	both.SetHTTP1(true)
	both.SetHTTP2(true)
	h2.SetUnencryptedHTTP2(true)
	h2.SetHTTP2(true)
	return &daemonTransport{
		calls:   &http.Transport{TLSClientConfig: c.Clone(), Protocols: both, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10},
		streams: &http.Transport{TLSClientConfig: c.Clone(), Protocols: h2},
	}
}

// early is how long before its end a token is replaced, of a token of a quarter of an hour.
const early = time.Minute

// A tokenError says why a call has no token: it was not made.
type tokenError struct{ error }

func (e *tokenError) Unwrap() error { return e.error }

// A remoteTransport adds a token to each call, which it gets when there is none.
type remoteTransport struct {
	o        RemoteOptions
	base     *url.URL
	next     transport
	key      *dpop.Key // nil: tokens are bound to nothing
	sessions weftv1connect.SessionServiceClient

	mu    sync.Mutex // guards what follows; held while a token is got
	token string
	until time.Time     // by this clock
	ahead time.Duration // of the hub's clock before this one
}

func (t *remoteTransport) CloseIdleConnections() { t.next.CloseIdleConnections() }

// RoundTrip calls once more, with another token, if the hub does not know the one that it was
// shown, and the body can be sent again.
func (t *remoteTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	token, ahead, err := t.fresh(r.Context(), "")
	if err != nil {
		return nil, errors.Join(&tokenError{err}, closeBody(r))
	}
	again := r.Body == nil || r.Body == http.NoBody || r.GetBody != nil
	res, err := t.send(r, token, ahead)
	if err != nil || res.Header.Get("WWW-Authenticate") == "" || !again {
		return res, err
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)); err != nil {
		return nil, errors.Join(err, res.Body.Close())
	}
	if err := res.Body.Close(); err != nil {
		return nil, err
	}
	if token, ahead, err = t.fresh(r.Context(), token); err != nil {
		return nil, &tokenError{err}
	}
	r = r.Clone(r.Context())
	if r.GetBody != nil {
		if r.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
	return t.send(r, token, ahead)
}

func (t *remoteTransport) send(r *http.Request, token string, ahead time.Duration) (*http.Response, error) {
	r = r.Clone(r.Context())
	if t.key == nil {
		r.Header.Set("Authorization", "Bearer "+token)
		return t.next.RoundTrip(r)
	}
	called := t.base.Scheme + "://" + rpc.Authority(t.base) + r.URL.Path
	proof, err := t.key.Proof(dpop.Request{Method: r.Method, URL: called, Token: token, Now: time.Now().Add(ahead)})
	if err != nil {
		return nil, errors.Join(err, closeBody(r))
	}
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", proof)
	return t.next.RoundTrip(r)
}

// fresh returns a token that is not the one that was refused, and is not about to end. Of several
// calls that need one, one gets it.
func (t *remoteTransport) fresh(ctx context.Context, refused string) (string, time.Duration, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token != "" && t.token != refused && time.Now().Before(t.until) {
		return t.token, t.ahead, nil
	}
	began := time.Now()
	c, err := t.sessions.Challenge(ctx, connect.NewRequest(&weftv1.ChallengeRequest{}))
	if err != nil {
		return "", 0, err
	}
	mint, err := t.mint(ctx, c.Msg)
	if err != nil {
		return "", 0, err
	}
	b, err := mint.Encode()
	if err != nil {
		return "", 0, err
	}
	m, err := t.sessions.Mint(ctx, connect.NewRequest(&weftv1.MintRequest{Mint: b}))
	if err != nil {
		return "", 0, err
	}
	life := m.Msg.GetExpires().AsTime().Sub(m.Msg.GetTime().AsTime())
	t.token, t.until = m.Msg.GetToken(), began.Add(life-min(early, life/4))
	if t.ahead = time.Until(m.Msg.GetTime().AsTime()); t.ahead.Abs() < time.Second {
		t.ahead = 0 // as far as can be told
	}
	return t.token, t.ahead, nil
}

// mint signs what asks for a token. It names the hub as it is called, so that no other can use it.
func (t *remoteTransport) mint(ctx context.Context, c *weftv1.ChallengeResponse) (*keys.Mint, error) {
	hub, err := keys.ParseDID(c.GetAudience())
	if err != nil {
		return nil, err
	}
	if !t.o.Hub.IsZero() && hub != t.o.Hub {
		return nil, fault.Errorf(fault.WrongPeer, "the hub at %s is %s, and not %s", t.base, hub.DID(), t.o.Hub.DID())
	}
	o := keys.MintOptions{Authority: rpc.Authority(t.base), Audience: hub, Scopes: t.o.Scopes}
	if copy(o.Challenge[:], c.GetChallenge()) != len(c.GetChallenge()) || len(c.GetChallenge()) != len(o.Challenge) {
		return nil, fault.Errorf(fault.Malformed, "the hub's challenge has %d bytes", len(c.GetChallenge()))
	}
	if t.key != nil {
		x := t.key.Thumbprint()
		o.Client = x[:]
	}
	if t.o.Secret != nil {
		return t.o.Secret.Mint(o)
	}
	g, err := t.o.Grant(ctx, hub)
	if err != nil {
		return nil, err
	}
	return t.o.User.Mint(g, o)
}
