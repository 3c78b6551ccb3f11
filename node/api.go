package node

import (
	"context"
	"errors"
	"fmt"
	stdnet "net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
	"github.com/weftdb/weft/node/api/weft/v1/weftv1connect"

	"github.com/weftdb/weft/keys"
)

// DefaultAPI is where a daemon's API listens unless told otherwise.
const DefaultAPI = "127.0.0.1:4601"

// maxMessage bounds one message of the API, in bytes: larger results and
// inputs are streams of messages.
const maxMessage = 16 << 20

// An api serves the RPC services of a node.
type api struct {
	server *http.Server
	cancel context.CancelFunc // ends the calls that are under way
	conns  sync.WaitGroup     // connections that are served
	done   chan error         // the server's last word
	addr   string
}

// serveAPI starts to serve on l, which it closes at the end.
func (n *Node) serveAPI(l stdnet.Listener) *api {
	life, cancel := context.WithCancel(n.life)
	a := &api{
		cancel: cancel,
		server: &http.Server{
			BaseContext:       func(stdnet.Listener) context.Context { return life },
			Handler:           n.Handler(),
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    16 << 10,
		},
		done: make(chan error, 1),
		addr: l.Addr().String(),
	}
	a.server.ConnState = a.count
	n.wg.Go(func() { a.done <- a.server.Serve(l) })
	return a
}

// count counts the connections that are served.
func (a *api) count(_ stdnet.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		a.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		a.conns.Done()
	}
}

// lastWords is how long calls that are told to end may take to say so.
const lastWords = 2 * time.Second

// close tells the calls that are under way to end and waits for them.
func (a *api) close() error {
	a.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	err := a.server.Shutdown(ctx)
	if err != nil {
		err = a.server.Close()
	}
	if last := <-a.done; !errors.Is(last, http.ErrServerClosed) {
		err = errors.Join(err, last)
	}
	a.conns.Wait()
	return err
}

// ended returns what a stream tells a caller when its context has ended: nothing
// if the caller ended it, ErrClosed if the node did.
func (n *Node) ended() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	return nil
}

// ServeAPI serves the API on l as well, until l is closed or the node is. It
// returns at once.
func (n *Node) ServeAPI(l stdnet.Listener) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	n.apis = append(n.apis, n.serveAPI(l))
	return nil
}

// Handler returns the API as an HTTP handler: Connect, gRPC-Web and JSON over
// POST. It judges every call.
func (n *Node) Handler() http.Handler {
	mux := http.NewServeMux()
	options := []connect.HandlerOption{
		connect.WithReadMaxBytes(maxMessage),
		connect.WithInterceptors(errorInterceptor{}),
		connect.WithRecover(n.recovered),
	}
	mux.Handle(weftv1connect.NewNodeServiceHandler(nodeService{n}, options...))
	mux.Handle(weftv1connect.NewKeyServiceHandler(keyService{n}, options...))
	mux.Handle(weftv1connect.NewRelayServiceHandler(relayService{n}, options...))
	mux.Handle(weftv1connect.NewDatabaseServiceHandler(databaseService{n}, options...))
	mux.Handle(weftv1connect.NewDocumentServiceHandler(documentService{n}, options...))
	mux.Handle(weftv1connect.NewBucketServiceHandler(bucketService{n}, options...))
	mux.Handle(weftv1connect.NewInboxServiceHandler(inboxService{n}, options...))
	return n.guard(mux)
}

// recovered turns a bug of ours into an error of one call.
func (n *Node) recovered(_ context.Context, spec connect.Spec, _ http.Header, bug any) error {
	n.log.Error("panic in an API call", "call", spec.Procedure, "panic", fmt.Sprint(bug))
	return errors.New("node: internal error")
}

// guard lets a request through if it comes from here and carries the
// administrator's token, as the policy decides.
func (n *Node) guard(next http.Handler) http.Handler {
	refusal := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := n.judge(r); err != nil {
			// The body is not read: the connection ends with the answer.
			w.Header().Set("Connection", "close")
			_ = refusal.Write(w, r, outward(err))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// judge decides whether a request may call the API.
func (n *Node) judge(r *http.Request) error {
	if err := checkHost(r.Host); err != nil {
		return err
	}
	if err := checkOrigin(r.Host, r.Header.Values("Origin")); err != nil {
		return err
	}
	local := false
	if text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		if given, err := keys.SecretOf([]byte(text)); err == nil {
			local = n.token.Equal(given)
		}
	}
	_, err := n.policy.Decide(keys.Request{
		Now: time.Now(), Audience: n.self.device.Public().Sign, Action: keys.ActionAdminister, Local: local,
	})
	if err != nil && !local {
		return fmt.Errorf("%w: this call needs the node's administrator token", ErrDenied)
	}
	return err
}

// checkHost refuses host names other than localhost: a page of another site
// can make its own name resolve to this machine, but not an IP address.
func checkHost(hostport string) error {
	host := hostport
	if h, _, err := stdnet.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if host == "localhost" {
		return nil
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return fmt.Errorf("%w: the API answers to localhost and IP addresses, not to host %.100q", ErrDenied, hostport)
	}
	return nil
}

// checkOrigin refuses pages that the node did not serve itself.
func checkOrigin(host string, origins []string) error {
	for _, o := range origins {
		u, err := url.Parse(o)
		if err != nil || u.Host != host || (u.Scheme != "http" && u.Scheme != "https") {
			return fmt.Errorf("%w: the API does not answer pages of %.100q", ErrDenied, o)
		}
	}
	return nil
}

// errorInterceptor gives every error its word.
type errorInterceptor struct{}

func (errorInterceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, req)
		if err != nil {
			return nil, outward(err)
		}
		return res, nil
	}
}

func (errorInterceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (errorInterceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if err := next(ctx, conn); err != nil {
			return outward(err)
		}
		return nil
	}
}

// outward turns an error into one of the API with its word as a detail. Errors
// of the transport keep their status.
func outward(err error) error {
	word, status := Code(err)
	var known *connect.Error
	if errors.As(err, &known) {
		if len(known.Details()) > 0 {
			return err
		}
		word, status = known.Code().String(), known.Code()
		err = errors.New(known.Message())
	}
	out := connect.NewError(status, err)
	if detail, derr := connect.NewErrorDetail(&weftv1.ErrorInfo{Code: word}); derr == nil {
		out.AddDetail(detail)
	}
	return out
}

// ErrorWord returns the stable word and the message of an error of the API, as
// a client sees it.
func ErrorWord(err error) (word, message string) {
	var known *connect.Error
	if !errors.As(err, &known) {
		word, _ := Code(err)
		return word, err.Error()
	}
	for _, d := range known.Details() {
		if v, derr := d.Value(); derr == nil {
			if info, ok := v.(*weftv1.ErrorInfo); ok {
				return info.GetCode(), known.Message()
			}
		}
	}
	return known.Code().String(), known.Message()
}
