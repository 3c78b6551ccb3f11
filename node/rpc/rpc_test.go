package rpc_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/reflect/protoreflect"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a node whose API listens.
func open(t *testing.T) *node.Node {
	t.Helper()
	n, err := node.Open(t.Context(), node.Config{
		Home: filepath.Join(t.TempDir(), "home"), Surfaces: []node.Surface{rpc.Surface("127.0.0.1:0")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// procedures returns the path of every call of the API, from its descriptors.
func procedures() []string {
	var out []string
	services := weftv1.File_weft_v1_weft_proto.Services()
	for i := range services.Len() {
		s := services.Get(i)
		for j := range s.Methods().Len() {
			out = append(out, procedure(s, s.Methods().Get(j)))
		}
	}
	return out
}

func procedure(s protoreflect.ServiceDescriptor, m protoreflect.MethodDescriptor) string {
	return "/" + string(s.FullName()) + "/" + string(m.Name())
}

// No call is reached without authorization, by any method or protocol; and every
// call that the descriptors name is reached with it.
func TestEveryProcedureIsAuthorized(t *testing.T) {
	n := open(t)
	h := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	ask := func(method, path, kind, auth string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+n.SurfaceAddr(node.SurfaceAPI)+path, strings.NewReader("not a message"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", kind)
		if auth != "" {
			r.Header.Set("Authorization", auth)
		}
		res, err := h.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, res.Header.Get("Grpc-Status") + string(body)
	}
	all := procedures()
	if len(all) < 40 {
		t.Fatalf("got %d procedures: %q", len(all), all)
	}
	token := string(n.Token().Reveal())
	for _, path := range all {
		for _, auth := range []string{"", "Bearer ", "Bearer " + strings.Repeat("a", len(token)), token} {
			for _, kind := range []string{"application/json", "application/proto", "application/connect+proto", "application/grpc-web+proto"} {
				status, body := ask(http.MethodPost, path, kind, auth)
				// Streams and gRPC have their refusal in a trailer or the body.
				if status != http.StatusForbidden && !strings.Contains(body, "permission_denied") && !strings.HasPrefix(body, "7") &&
					!strings.Contains(strings.ToLower(body), "grpc-status: 7") {
					t.Errorf("%s as %s with %q: got %d %q", path, kind, auth, status, body)
				}
			}
			if status, body := ask(http.MethodGet, path, "", auth); status != http.StatusForbidden {
				t.Errorf("GET %s with %q: got %d %q", path, auth, status, body)
			}
		}
		if status, _ := ask(http.MethodPost, path, "application/json", "Bearer "+token); status == http.StatusForbidden || status == http.StatusNotFound {
			t.Errorf("%s with the token: got %d", path, status)
		}
	}
}

// Hostile HTTP gets a typed no before its body is read.
func TestAPIRefuses(t *testing.T) {
	n := open(t)
	token := string(n.Token().Reveal())
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	const path = "/weft.v1.NodeService/Identify"
	for _, c := range []struct {
		name, host, origin, auth, path, body string
		status                               int
		says                                 string
	}{
		{name: "the owner", auth: "Bearer " + token, status: 200, says: "did:key:"},
		{name: "localhost", host: "localhost", auth: "Bearer " + token, status: 200, says: "did:key:"},
		{name: "no token", status: 403, says: "permission_denied"},
		{name: "empty token", auth: "Bearer ", status: 403, says: "permission_denied"},
		{name: "wrong token", auth: "Bearer " + strings.Repeat("a", len(token)), status: 403, says: "permission_denied"},
		{name: "half a token", auth: "Bearer " + token[:10], status: 403, says: "permission_denied"},
		{name: "other scheme", auth: "Basic " + token, status: 403, says: "permission_denied"},
		{name: "rebound name", host: "evil.example", auth: "Bearer " + token, status: 403, says: "evil.example"},
		{name: "name like localhost", host: "localhost.evil.example:4601", auth: "Bearer " + token, status: 403, says: "permission_denied"},
		{name: "foreign page", origin: "http://evil.example", auth: "Bearer " + token, status: 403, says: "permission_denied"},
		{name: "page without origin", origin: "null", auth: "Bearer " + token, status: 403, says: "permission_denied"},
		{name: "own page", origin: "http://" + n.SurfaceAddr(node.SurfaceAPI), auth: "Bearer " + token, status: 200, says: "did:key:"},
		{name: "no such call", auth: "Bearer " + token, path: "/weft.v1.NodeService/Nothing", status: 404},
		{name: "not JSON", auth: "Bearer " + token, body: "{", status: 400, says: "invalid_argument"},
		{name: "oversize", auth: "Bearer " + token, body: `{"x":"` + strings.Repeat("x", 17<<20) + `"}`, status: 429, says: "resource_exhausted"},
		{name: "oversize, no token", body: strings.Repeat("x", 17<<20), status: 403, says: "permission_denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.path == "" {
				c.path = path
			}
			if c.body == "" {
				c.body = "{}"
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+n.SurfaceAddr(node.SurfaceAPI)+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", c.auth)
			if c.host != "" {
				r.Host = c.host
			}
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
			res, err := client.Do(r)
			if err != nil {
				if len(c.body) > 1<<20 {
					return // it hung up on us while we were sending
				}
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != c.status || !bytes.Contains(body, []byte(c.says)) {
				t.Errorf("got %d %s, want %d and %q", res.StatusCode, body, c.status, c.says)
			}
		})
	}
}

// No answer is packed for a caller on this machine, and none that carries files
// for anybody; others get what they accept.
func TestCompression(t *testing.T) {
	n := open(t)
	h := rpc.Handler(n)
	packed := func(path, kind, from string) bool {
		body := "{}"
		if kind != "application/json" {
			body = "\x00\x00\x00\x00\x02{}"
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost"+path, strings.NewReader(body))
		r.RemoteAddr = from
		r.Header.Set("Content-Type", kind)
		r.Header.Set("Authorization", "Bearer "+string(n.Token().Reveal()))
		for _, name := range []string{"Accept-Encoding", "Connect-Accept-Encoding", "Grpc-Accept-Encoding"} {
			r.Header.Set(name, "gzip")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Header().Get("Content-Encoding")+w.Header().Get("Connect-Content-Encoding")+w.Header().Get("Grpc-Encoding") != ""
	}
	const far = "192.0.2.1:1000"
	for _, c := range []struct {
		path, kind, from string
		packed           bool
	}{
		{"/weft.v1.NodeService/Status", "application/json", "127.0.0.1:1000", false},
		{"/weft.v1.NodeService/Status", "application/json", "[::1]:1000", false},
		{"/weft.v1.NodeService/Status", "application/json", far, true},
		{"/weft.v1.DocumentService/Find", "application/connect+json", "127.0.0.1:1000", false},
		{"/weft.v1.DocumentService/Find", "application/connect+json", far, true},
		{"/weft.v1.DocumentService/Find", "application/grpc-web+json", "127.0.0.1:1000", false},
		{"/weft.v1.NodeService/Backup", "application/connect+json", far, false},
		{"/weft.v1.BucketService/Cat", "application/connect+json", far, false},
		{"/weft.v1.BucketService/Pull", "application/connect+json", far, false},
	} {
		if got := packed(c.path, c.kind, c.from); got != c.packed {
			t.Errorf("%s as %s to %s: packed %v, want %v", c.path, c.kind, c.from, got, c.packed)
		}
	}
}

// document returns BSON of Extended JSON.
func document(t *testing.T, text string) []byte {
	t.Helper()
	var d bson.D
	err := bson.UnmarshalExtJSON([]byte(text), false, &d)
	b, err2 := bson.Marshal(d)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return b
}

func address(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func emptyTLS() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12} }
