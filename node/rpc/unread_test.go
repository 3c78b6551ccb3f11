package rpc_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
	"github.com/weftdb/weft/node/api/weft/v1/weftv1connect"
	"github.com/weftdb/weft/node/rpc"
)

// Every error carries its word, also one that is made before a service is asked.
func TestUnreadCallsCarryTheirWord(t *testing.T) {
	n := open(t)
	h := rpc.Handler(n)
	word := func(kind fault.Kind) []byte { // as the details of an error have it
		return []byte(base64.RawStdEncoding.EncodeToString(append([]byte{10, byte(len(kind))}, kind...)))
	}
	frame := func(s string) string { return string([]byte{0, 0, 0, 0, byte(len(s))}) + s }
	const identify, find = "/weft.v1.NodeService/Identify", "/weft.v1.DocumentService/Find"
	large := `{"x":"` + strings.Repeat("x", 17<<20) + `"}`
	for _, c := range []struct {
		method, path, kind, body string
		status                   int
		word                     fault.Kind
	}{
		{"POST", identify, "application/json", "{", 400, fault.InvalidArgument},
		{"POST", identify, "application/proto", "\xff", 400, fault.InvalidArgument},
		{"POST", identify, "application/json", large, 429, fault.TooLarge},
		{"POST", identify, "text/plain", "{}", 415, fault.InvalidArgument},
		{"PUT", identify, "application/json", "{}", 405, fault.InvalidArgument},
		{"POST", "/weft.v1.NodeService/Nothing", "application/json", "{}", 404, fault.UnknownVersion},
		{"POST", "/nothing", "application/json", "{}", 404, fault.UnknownVersion},
		{"POST", find, "application/connect+json", frame("{"), 200, fault.InvalidArgument},
		{"POST", "/weft.v1.DocumentService/Nothing", "application/connect+json", frame("{}"), 200, fault.UnknownVersion},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, "http://localhost"+c.path, strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.kind)
		r.Header.Set("Authorization", "Bearer "+string(n.Token().Reveal()))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status || !bytes.Contains(w.Body.Bytes(), word(c.word)) {
			t.Errorf("%s %s as %s: got %d %.300s, want %d and the word %s", c.method, c.path, c.kind, w.Code, w.Body, c.status, c.word)
		}
	}

	// gRPC-Web and gRPC, as a client of theirs reads it.
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	for name, o := range map[string]connect.ClientOption{"gRPC-Web": connect.WithGRPCWeb(), "gRPC": connect.WithGRPC()} {
		client := weftv1connect.NewDatabaseServiceClient(&http.Client{Transport: transport}, "http://"+n.SurfaceAddr(node.SurfaceAPI), o)
		q := connect.NewRequest(&weftv1.CreateDatabaseRequest{Name: strings.Repeat("x", 17<<20)})
		q.Header().Set("Authorization", "Bearer "+string(n.Token().Reveal()))
		_, err := client.Create(t.Context(), q)
		var failed *connect.Error
		if !errors.As(err, &failed) || failed.Code() != connect.CodeResourceExhausted || len(failed.Details()) != 1 {
			t.Errorf("%s: got %v, want a refusal with its word", name, err)
		}
	}
}
