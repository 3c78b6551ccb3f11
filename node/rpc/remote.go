package rpc

import (
	"context"
	"crypto/tls"
	"io"
	stdnet "net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
	"github.com/weftdb/weft/node/api/weft/v1/weftv1connect"
)

// RemoteOptions say where a hub answers remote callers.
type RemoteOptions struct {
	// Addr is the host:port to listen at; required. Without TLS it is on loopback.
	Addr string
	// TLS has the hub's certificates; nil means that a proxy on this machine has them, or that
	// all callers are on it.
	TLS *tls.Config
	// PublicURL is what clients call, https://host or https://host:port. It may be nil on loopback.
	PublicURL *url.URL
	// Proxies are those whose X-Forwarded-For is believed.
	Proxies []netip.Prefix
}

// How long a call may take.
const (
	unaryTime  = time.Minute
	streamTime = 24 * time.Hour
	// lastWord is how long a call that was cut has to say why.
	lastWord = 50 * time.Millisecond
	// openSize bounds the message of a call that anybody may make, in bytes.
	openSize = 8 << 10
)

// askForToken is the header by which a client is told, in every protocol, that another token may
// help.
const askForToken = "WWW-Authenticate"

// Remote returns the surface for remote callers of a hub, or an error that tells what of the
// options is not safe.
func Remote(o RemoteOptions) (node.Surface, error) {
	host, _, err := stdnet.SplitHostPort(o.Addr)
	if err != nil {
		return node.Surface{}, fault.Of(node.ErrInvalid, "cannot listen at --listen %s: want host:port", o.Addr)
	}
	ip, err := netip.ParseAddr(host)
	loopback := host == "localhost" || err == nil && ip.Unmap().IsLoopback()
	switch u := o.PublicURL; {
	case !loopback && o.TLS == nil:
		return node.Surface{}, fault.Of(node.ErrInvalid, "--listen %s is not on this machine only, so it needs --tls-cert and --tls-key; or listen on loopback, with a proxy before it", o.Addr)
	case !loopback && u == nil:
		return node.Surface{}, fault.Of(node.ErrInvalid, "--listen %s needs --public-url, the address that clients call: what they sign names it", o.Addr)
	case u != nil && (u.Scheme != "https" && (u.Scheme != "http" || !loopback || o.TLS != nil) || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != ""):
		return node.Surface{}, fault.Of(node.ErrInvalid, "invalid --public-url %s: want https://host or https://host:port", u.Redacted())
	}
	return node.Surface{Name: node.SurfaceRemote, Addr: o.Addr, TLS: o.TLS, Handler: func(n *node.Node) http.Handler {
		return &remoteGuard{n: n, o: o, next: services(n), refusal: connect.NewErrorWriter()}
	}}, nil
}

// Authority returns the host of a URL, with its port unless that is the scheme's, in lower case:
// what a client that calls it signs.
func Authority(u *url.URL) string { return authority(u.Scheme, u.Host) }

func authority(scheme, host string) string {
	host = strings.ToLower(host)
	if scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

// A remoteGuard lets a request through that has a token which permits it. The administrator's
// token is nothing here. It looks at headers only, as [guard] does.
type remoteGuard struct {
	n       *node.Node
	o       RemoteOptions
	next    http.Handler
	refusal *connect.ErrorWriter
}

func (g *remoteGuard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, done, err := g.admit(w, r)
	if err != nil {
		if seconds, ok := node.RetryAfter(err); ok {
			w.Header().Set("Retry-After", strconv.Itoa(seconds))
		}
		if k := fault.KindOf(err); k == fault.NoCredential || k == fault.CredentialExpired {
			w.Header().Set(askForToken, `DPoP error="invalid_token"`)
		}
		w.Header().Set("Connection", "close") // the body is not read
		_ = g.refusal.Write(w, r, outward(err))
		return
	}
	defer done()
	if local(r.RemoteAddr) || carriesBytes(r.URL.Path) {
		refuseCompression(r.Header)
	}
	g.next.ServeHTTP(w, r)
}

// admit says on whose behalf a request is served.
func (g *remoteGuard) admit(w http.ResponseWriter, r *http.Request) (_ *http.Request, done func(), err error) {
	scheme := g.scheme()
	c := &caller{here: g.here}
	if !g.here(authority(scheme, r.Host)) {
		return r, nil, fault.Of(node.ErrDenied, "this hub does not answer to host %.100q", r.Host)
	}
	for _, o := range r.Header.Values("Origin") {
		if o != scheme+"://"+authority(scheme, r.Host) {
			return r, nil, fault.Of(node.ErrDenied, "this hub does not answer pages of %.100q", o)
		}
	}
	need, known := access[r.URL.Path]
	switch {
	case !known || r.Method != http.MethodPost:
		return r, nil, fault.Of(node.ErrNotFound, "there is no such call")
	case need == nobody:
		return r, nil, fault.Of(node.ErrDenied, "this call is for the node's administrator, at its local API")
	case need == anybody:
		if err := g.n.Sessions().Stranger(g.from(r)); err != nil {
			return r, nil, err
		}
		bound(http.NewResponseController(w), unaryTime/6)
		r.Body = http.MaxBytesReader(w, r.Body, openSize)
		return r.WithContext(context.WithValue(r.Context(), callerKey{}, c)), func() {}, nil
	}
	if c.session, err = g.n.Sessions().Find(presented(r, scheme+"://"+authority(scheme, r.Host)+r.URL.Path)); err != nil {
		if busy := g.n.Sessions().Stranger(g.from(r)); busy != nil {
			err = busy
		}
		return r, nil, err
	}
	return g.hold(w, r, c, need)
}

// hold begins a request of a session. The question whether it may comes after it can be cut: a
// key that is revoked between is met by one of them.
func (g *remoteGuard) hold(w http.ResponseWriter, r *http.Request, c *caller, need keys.Action) (_ *http.Request, done func(), err error) {
	s := c.session
	most := unaryTime
	if streams(r.URL.Path) {
		most = streamTime
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	ctx, expire := s.Limit(ctx, most)
	k := &cutter{cancel: cancel, conn: http.NewResponseController(w)}
	bound(k.conn, most)
	cut := k.cut
	if r.URL.Path == weftv1connect.SessionServiceEndProcedure {
		cut = func(error) {} // it is to say that it has ended the session
	}
	release, err := g.n.Sessions().Hold(s, cut)
	end := func() {
		if release != nil {
			release()
		}
		k.end()
		expire()
		cancel(nil)
	}
	if err != nil {
		end()
		return r, nil, err
	}
	c.space = g.n.Space(s.Account, s.User)
	c.may = func(a keys.Action) error {
		_, err := g.n.Authorize(node.Request{Session: &s.Session, Action: a, Resource: keys.Resource{Owner: s.User, Account: s.Account}})
		if err == nil && a == keys.ActionWrite {
			_, err = c.space.Room()
		}
		return err
	}
	if need != anyToken {
		if err := c.may(need); err != nil {
			end()
			return r, nil, err
		}
	}
	if need == keys.ActionWrite {
		room, err := c.space.Room()
		if err == nil && room >= 0 && r.ContentLength > room+openSize {
			err = noRoom()
		}
		if err != nil {
			end()
			return r, nil, err
		}
		if room >= 0 {
			r.Body = &roomReader{r.Body, room + openSize}
		}
	}
	return r.WithContext(context.WithValue(ctx, callerKey{}, c)), end, nil
}

func noRoom() error {
	return fault.Errorf(fault.QuotaExceeded, "this hub does not keep as much for a user: remove some")
}

// A roomReader reads what a stream brings, as far as there is room for it.
type roomReader struct {
	io.ReadCloser
	left int64
}

func (b *roomReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, noRoom()
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// bound gives a request so long to be read, and somewhat longer to be answered. It is set for each
// request, as that of a connection would hold for the next.
func bound(conn *http.ResponseController, most time.Duration) {
	_ = conn.SetReadDeadline(time.Now().Add(most)) // what has no deadline, in tests, has no caller that is slow
	_ = conn.SetWriteDeadline(time.Now().Add(most + 10*time.Second))
}

// A cutter ends a request from outside: first its context, so that it can say why, and then what
// it waits for of a caller that neither sends nor reads.
type cutter struct {
	cancel context.CancelCauseFunc
	conn   *http.ResponseController

	mu    sync.Mutex // guards what follows
	timer *time.Timer
	ended bool
}

func (k *cutter) cut(why error) {
	k.cancel(why)
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.ended {
		_ = k.conn.SetReadDeadline(time.Now()) // a writer that has none has no caller that can hold it
		k.timer = time.AfterFunc(lastWord, k.silence)
	}
}

func (k *cutter) silence() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.ended {
		_ = k.conn.SetWriteDeadline(time.Now())
	}
}

// end keeps the connection, which may serve other requests, from what is of this one.
func (k *cutter) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	if k.timer != nil {
		k.timer.Stop()
	}
}

// cutBy returns why a call was cut; nil if it was not, or by its caller or the node's end.
func cutBy(ctx context.Context) error {
	if ctx.Err() == nil || callerOf(ctx) == nil {
		return nil
	}
	if why := context.Cause(ctx); why != ctx.Err() { //nolint:errorlint // the very error is what no cause was given for
		return why
	}
	return nil
}

// presented reads the token of a request; of several headers there is none.
func presented(r *http.Request, called string) node.Presented {
	p := node.Presented{Method: r.Method, URL: called}
	auth, proofs := r.Header.Values("Authorization"), r.Header.Values("DPoP")
	if len(auth) != 1 || len(proofs) > 1 {
		return p
	}
	scheme, token, _ := strings.Cut(auth[0], " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		p.Token = token
	case strings.EqualFold(scheme, "DPoP"):
		p.Token, p.DPoP = token, true
		if len(proofs) == 1 {
			p.Proof = proofs[0]
		}
	}
	return p
}

func (g *remoteGuard) scheme() string {
	switch {
	case g.o.PublicURL != nil:
		return g.o.PublicURL.Scheme
	case g.o.TLS != nil:
		return "https"
	}
	return "http"
}

// here reports whether an authority is this hub's. Without a public URL the hub is on loopback,
// at the port where it listens.
func (g *remoteGuard) here(called string) bool {
	if g.o.PublicURL != nil {
		return called == Authority(g.o.PublicURL)
	}
	_, port, err := stdnet.SplitHostPort(g.n.SurfaceAddr(node.SurfaceRemote))
	return err == nil && slices.Contains([]string{"localhost:" + port, "127.0.0.1:" + port, "[::1]:" + port}, called)
}

// from returns the address that a request comes from, which decides nothing but rates.
func (g *remoteGuard) from(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	trusted := func(a netip.Addr) bool {
		return slices.ContainsFunc(g.o.Proxies, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
	}
	at := peer.Addr()
	told := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(told) - 1; i >= 0 && trusted(at); i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(told[i]))
		if err != nil {
			break
		}
		at = a
	}
	return at
}

// streams reports whether a call is a stream, by the descriptor of the services.
func streams(procedure string) bool {
	service, method, _ := strings.Cut(strings.TrimPrefix(procedure, "/"), "/")
	s := weftv1.File_weft_v1_weft_proto.Services().ByName(protoreflect.FullName(service).Name())
	if s == nil {
		return false
	}
	m := s.Methods().ByName(protoreflect.Name(method))
	return m != nil && (m.IsStreamingClient() || m.IsStreamingServer())
}
