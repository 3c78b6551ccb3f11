package client

import (
	"io"
	stdnet "net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/weftdb/weft/internal/fault"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
)

// What is no daemon is told as such, by calls and by streams, without the words of a library;
// a connection that breaks is a daemon that ended.
func TestOthersAnswer(t *testing.T) {
	answers := func(status int, kind string) *httptest.Server {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<html>")
		}))
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetHTTP1(true)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		t.Cleanup(s.Close)
		return s
	}
	plain := answers(200, "text/html")
	plain.Start()
	proxy := answers(502, "text/html")
	proxy.Start()
	page := answers(404, "text/plain")
	page.Start()
	secure := answers(200, "text/html")
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	breaks, err := stdnet.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := breaks.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 16))
			_ = c.(*stdnet.TCPConn).SetLinger(0)
			_ = c.Close()
		}
	}()
	defer func() { _ = breaks.Close(); <-done }()
	for _, x := range []struct {
		base, says string
		kind       fault.Kind
	}{
		{plain.URL, "no weft daemon", fault.Unavailable},
		{proxy.URL, "no weft daemon", fault.Unavailable},
		{page.URL, "another release, or none", fault.UnknownVersion},
		{strings.Replace(plain.URL, "http:", "https:", 1), "no TLS", fault.Unavailable},
		{secure.URL, "does not trust", fault.Unavailable},
		{strings.Replace(secure.URL, "https:", "http:", 1), "no weft daemon", fault.Unavailable},
		{"http://" + breaks.Addr().String(), "ended during the call", fault.Closed},
	} {
		tr := newDaemonTransport()
		c := newClient(x.base, &authorized{next: tr})
		_, call := c.Node.Status(t.Context(), connect.NewRequest(&weftv1.StatusRequest{}))
		found, stream := c.Documents.Find(t.Context(), connect.NewRequest(&weftv1.FindRequest{}))
		if stream == nil {
			found.Receive()
			stream = found.Err()
			_ = found.Close()
		}
		for what, err := range map[string]error{"call": call, "stream": stream} {
			if !fault.Is(err, x.kind) || !strings.Contains(err.Error(), x.says) || strings.Contains(err.Error(), "weft.v1") || strings.Contains(err.Error(), "x509") {
				t.Errorf("%s, %s: got %q of kind %s, want %s with %q", x.base, what, err, fault.KindOf(err), x.kind, x.says)
			}
		}
		tr.CloseIdleConnections()
	}
}

func TestBase(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:4601": "http://127.0.0.1:4601", "http://localhost:1/": "http://localhost:1", "https://weft.example": "https://weft.example",
		"[::1]:4601": "http://[::1]:4601", "": "", "foo": "", ":": "", ":4601": "http://:4601", "ftp://x:1": "", "https://": "", "http://x": "", "a b:1": "",
	} {
		u, err := Base(addr)
		if want == "" && !fault.Is(err, fault.Usage) || want != "" && (err != nil || u.String() != want) {
			t.Errorf("%q: got %v, %v, want %q", addr, u, err, want)
		}
	}
}
