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

// guard lets a request through to next if it comes from here and the node authorizes it. It
// is one place before all services, so that a service added later cannot forget it. It
// looks at the header only: who may not call cannot make the node read, decompress or parse
// a body.
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

// local reports whether a peer is on this machine, where packing an answer costs much and
// saves nothing. RemoteAddr is that of the connection, not of a header that the caller
// could write; the transport of package client sets 127.0.0.1 for calls in one process.
func local(addr string) bool {
	peer, err := netip.ParseAddrPort(addr)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}

// carriesBytes reports whether the answers of a call carry files: they are packed, sealed
// or random more often than not. It is read off the descriptor of the services, so a call
// that is added needs no entry in a list. procedure is the path of the request,
// /weft.v1.Service/Method; a path that names no call carries none.
func carriesBytes(procedure string) bool {
	service, method, _ := strings.Cut(strings.TrimPrefix(procedure, "/"), "/")
	s := weftv1.File_weft_v1_weft_proto.Services().ByName(protoreflect.FullName(service).Name())
	if s == nil {
		return false
	}
	m := s.Methods().ByName(protoreflect.Name(method))
	return m != nil && hasData(m.Output())
}

// hasData reports whether a message, or one in it, has bytes of files. The messages of the
// API contain no cycle but of a message in itself, which is what ends the recursion.
func hasData(m protoreflect.MessageDescriptor) bool {
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		if f.Name() == "data" && f.Kind() == protoreflect.BytesKind || f.Message() != nil && f.Message() != m && hasData(f.Message()) {
			return true
		}
	}
	return false
}

// refuseCompression has every protocol of the API answer as it is. Connect reads from these
// headers what the caller can unpack: without them it packs nothing.
func refuseCompression(h http.Header) {
	for _, name := range []string{"Accept-Encoding", "Connect-Accept-Encoding", "Grpc-Accept-Encoding"} {
		h.Del(name)
	}
}

// requestOf returns what a call asks of the node: each asks for all of it. There is no call
// yet that less than the administrator's right permits. A header of another scheme than
// Bearer is as good as none: Authorize refuses it.
func requestOf(r *http.Request) node.Request {
	q := node.Request{Action: keys.ActionAdminister}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		q.Token = token
	}
	return q
}

// checkSource refuses requests that a page of another site can make. Such a page has no
// token, so this is a second wall: it holds also for a page that has got hold of the token,
// and costs programs nothing.
func checkSource(r *http.Request) error {
	if err := checkHost(r.Host); err != nil {
		return err
	}
	return checkOrigin(r.Host, r.Header.Values("Origin"))
}

// checkHost refuses host names other than localhost: a page of another site can make its
// own name resolve to this machine, but not an IP address. That trick is DNS rebinding: the
// browser takes the answers for the page's own origin, and only the Host header still tells
// which name was asked for. A missing port, and the brackets of IPv6, are valid.
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

// checkOrigin refuses pages that the node did not serve itself. Requests without an Origin are
// answered, as programs send none; browsers send it with every POST, "null" for a page
// without an origin, and that is refused too. The port counts: another port is another
// origin.
func checkOrigin(host string, origins []string) error {
	for _, o := range origins {
		u, err := url.Parse(o)
		if err != nil || u.Host != host || (u.Scheme != "http" && u.Scheme != "https") {
			return fault.Of(node.ErrDenied, "the API does not answer pages of %.100q", o)
		}
	}
	return nil
}
