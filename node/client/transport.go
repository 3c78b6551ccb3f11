package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"

	"github.com/weftdb/weft/internal/fault"
)

// A transport carries the calls of a client.
type transport interface {
	http.RoundTripper
	CloseIdleConnections()
}

// A daemonTransport calls a daemon. Bodies of no known length, which are client
// streams, go by HTTP/2: over HTTP/1.1 a node that refuses one closes the
// connection on what is still being sent, and its reason is lost with it. All
// else goes by HTTP/1.1, which copies bulk less often.
type daemonTransport struct{ calls, streams *http.Transport }

func newDaemonTransport() *daemonTransport {
	h2 := new(http.Protocols)
	h2.SetUnencryptedHTTP2(true)
	h2.SetHTTP2(true) // by TLS, to a proxy before a daemon
	return &daemonTransport{
		calls:   &http.Transport{ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10},
		streams: &http.Transport{Protocols: h2},
	}
}

func (t *daemonTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	by := t.calls
	if r.ContentLength < 0 {
		by = t.streams
	}
	res, err := by.RoundTrip(r)
	if err != nil {
		return nil, other(r.URL.Host, err)
	}
	kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	switch kind {
	case "application/proto", "application/json", "application/connect+proto", "application/connect+json":
		return res, nil
	}
	if res.StatusCode == http.StatusNotFound { // as a daemon of another release answers
		return res, nil
	}
	return nil, errors.Join(fault.Of(ErrNoDaemon, "what answers at %s is no weft daemon, or a proxy that reaches none", r.URL.Host), res.Body.Close())
}

// other says what an error tells of a host that is no daemon, nor a proxy with TLS before one.
func other(host string, err error) error {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fault.Of(ErrNoDaemon, "this machine does not trust the TLS certificate of %s for that name", host)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return fault.Of(ErrNoDaemon, "there is no TLS at %s: without a proxy a daemon's API is called at host:port, on its own machine", host)
	}
	return err
}

func (t *daemonTransport) CloseIdleConnections() {
	t.calls.CloseIdleConnections()
	t.streams.CloseIdleConnections()
}

// A handlerTransport calls a handler in this process. The answer comes as soon
// as the handler begins it, and a handler that has ended reads no more: whoever
// still sends is told so. What answers a client stream never waits for its
// caller, who may be waiting to send.
type handlerTransport struct {
	handler http.Handler

	mu     sync.Mutex // guards closed: no call begins after it
	closed bool
	calls  sync.WaitGroup
	life   context.Context //nolint:containedctx // of the transport: close ends the calls under way
	cancel context.CancelFunc
}

func newHandlerTransport(h http.Handler) *handlerTransport {
	t := &handlerTransport{handler: h}
	t.life, t.cancel = context.WithCancel(context.Background())
	return t
}

// close tells the calls under way to end and waits for them.
func (t *handlerTransport) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.calls.Wait()
}

// CloseIdleConnections does nothing: there are none.
func (t *handlerTransport) CloseIdleConnections() {}

func (t *handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	out := newAnswer(r, cancel)
	if !t.begin(func() { t.serve(ctx, cancel, r, out) }) {
		cancel()
		return nil, errors.Join(http.ErrServerClosed, closeBody(r))
	}
	select {
	case <-out.begun:
		return out.response, nil
	case <-r.Context().Done():
		return nil, r.Context().Err() // serve ends too, and lets go of the body
	}
}

// begin runs a call unless the transport is closed.
func (t *handlerTransport) begin(call func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.calls.Go(call)
	}
	return !t.closed
}

func closeBody(r *http.Request) error {
	if r.Body == nil {
		return nil
	}
	return r.Body.Close()
}

// serve has the handler answer one request. Its end, the caller's and the
// transport's end the body.
func (t *handlerTransport) serve(ctx context.Context, cancel context.CancelFunc, r *http.Request, out *answer) {
	defer cancel()
	defer context.AfterFunc(t.life, cancel)()
	in := r.Clone(ctx)
	in.RequestURI, in.Host, in.RemoteAddr = r.URL.RequestURI(), r.URL.Host, "127.0.0.1:0"
	if in.Body == nil {
		in.Body = http.NoBody
	}
	body := &requestBody{ReadCloser: in.Body, ctx: ctx}
	in.Body = body
	defer context.AfterFunc(ctx, func() { _ = body.Close() })()
	err := error(http.ErrAbortHandler) // unless the handler comes back
	defer func() {
		if bug := recover(); bug != nil && bug != any(http.ErrAbortHandler) {
			err = fmt.Errorf("panic in a call: %v", bug)
		}
		out.end(errors.Join(err, body.Close()))
	}()
	t.handler.ServeHTTP(out, in)
	err = nil
}

// A requestBody is what the handler reads; it says why it ended.
type requestBody struct {
	io.ReadCloser
	ctx context.Context //nolint:containedctx // of the request whose body it is
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && b.ctx.Err() != nil {
		err = b.ctx.Err()
	}
	return n, err
}

// answerAhead is how many bytes of a stream wait for a caller that is slow.
const answerAhead = 1 << 20

// An answer is the handler's side of a response, and makes the caller's.
type answer struct {
	header   http.Header
	begin    sync.Once
	begun    chan struct{} // closed when response is there
	response *http.Response
	body     *pipe
}

func newAnswer(r *http.Request, cancel context.CancelFunc) *answer {
	body := newPipe(answerAhead)
	if r.ContentLength < 0 { // a client stream, whose answer is one message
		body.limit = math.MaxInt
	}
	return &answer{
		header: http.Header{}, begun: make(chan struct{}), body: body,
		response: &http.Response{
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1, Request: r,
			Body: &responseBody{pipe: body, cancel: cancel},
		},
	}
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	a.begin.Do(func() {
		a.response.StatusCode, a.response.Status = status, fmt.Sprintf("%d %s", status, http.StatusText(status))
		a.response.Header = a.header.Clone()
		close(a.begun)
	})
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// Flush sends the header; bytes are never held back.
func (a *answer) Flush() { a.WriteHeader(http.StatusOK) }

// end ends the body, with err or well.
func (a *answer) end(err error) {
	a.WriteHeader(http.StatusOK)
	a.body.end(err)
}

// A responseBody ends the call when its reader has had enough.
type responseBody struct {
	*pipe
	cancel context.CancelFunc
}

func (b *responseBody) Close() error {
	b.cancel()
	b.pipe.close()
	return nil
}
