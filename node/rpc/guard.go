package rpc

import (
	stdnet "net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
)

// guard lets a request through to next if it comes from here and the node
// authorizes it.
func guard(n *node.Node, next http.Handler) http.Handler {
	refusal := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := checkSource(r)
		if err == nil {
			_, err = n.Authorize(requestOf(r))
		}
		if err != nil {
			// The body is not read: the connection ends with the answer.
			w.Header().Set("Connection", "close")
			_ = refusal.Write(w, r, outward(err))
			return
		}
		if local(r.RemoteAddr) || carriesBytes(r.URL.Path) {
			refuseCompression(r.Header)
		}
		next.ServeHTTP(w, r)
	})
}

// local reports whether a peer is on this machine, where packing an answer costs
// much and saves nothing.
func local(addr string) bool {
	peer, err := netip.ParseAddrPort(addr)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}

// carriesBytes reports whether the answers of a call carry files: they are
// packed, sealed or random more often than not.
func carriesBytes(procedure string) bool {
	service, method, _ := strings.Cut(strings.TrimPrefix(procedure, "/"), "/")
	s := weftv1.File_weft_v1_weft_proto.Services().ByName(protoreflect.FullName(service).Name())
	if s == nil {
		return false
	}
	m := s.Methods().ByName(protoreflect.Name(method))
	return m != nil && hasData(m.Output())
}

// hasData reports whether a message, or one in it, has bytes of files.
func hasData(m protoreflect.MessageDescriptor) bool {
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		if f.Name() == "data" && f.Kind() == protoreflect.BytesKind || f.Message() != nil && f.Message() != m && hasData(f.Message()) {
			return true
		}
	}
	return false
}

// refuseCompression has every protocol of the API answer as it is.
func refuseCompression(h http.Header) {
	for _, name := range []string{"Accept-Encoding", "Connect-Accept-Encoding", "Grpc-Accept-Encoding"} {
		h.Del(name)
	}
}

// requestOf returns what a call asks of the node: each asks for all of it.
func requestOf(r *http.Request) node.Request {
	q := node.Request{Action: keys.ActionAdminister}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		q.Token = token
	}
	return q
}

// checkSource refuses requests that a page of another site can make.
func checkSource(r *http.Request) error {
	if err := checkHost(r.Host); err != nil {
		return err
	}
	return checkOrigin(r.Host, r.Header.Values("Origin"))
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
		return fault.Of(node.ErrDenied, "the API answers to localhost and IP addresses, not to host %.100q", hostport)
	}
	return nil
}

// checkOrigin refuses pages that the node did not serve itself.
func checkOrigin(host string, origins []string) error {
	for _, o := range origins {
		u, err := url.Parse(o)
		if err != nil || u.Host != host || (u.Scheme != "http" && u.Scheme != "https") {
			return fault.Of(node.ErrDenied, "the API does not answer pages of %.100q", o)
		}
	}
	return nil
}
