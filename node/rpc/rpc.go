// Package rpc is the way in for the command line and programs in other
// languages: Connect services over HTTP, which call a node's public methods.
//
//	Surface ── Handler ── guard        one question to node.Authorize a request
//	             └─────── services     messages ⇄ values; what is done is done in node
//	Remote ── remoteGuard ──┘          the same calls for who has a token, as far as access.go lists them
//	errors.go                          one table from kinds of errors to statuses
//	unread.go                          the word of errors that Connect makes by itself
//
// The services and their messages are in node/api/weft/v1; who may call, and how
// another way in is added: docs/design/node.md.
package rpc

import (
	"context"
	"fmt"
	"net/http"

	"connectrpc.com/connect"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/api/weft/v1/weftv1connect"
)

// DefaultAddr is where a daemon's API listens unless told otherwise.
const DefaultAddr = "127.0.0.1:4601"

// maxMessage bounds one message, in bytes: larger results and inputs are streams
// of messages.
const maxMessage = 16 << 20

// The services. They translate; what is done is done by the node.
type (
	nodeService     struct{ n *node.Node }
	sessionService  struct{ n *node.Node }
	spaceService    struct{ n *node.Node }
	keyService      struct{ n *node.Node }
	relayService    struct{ n *node.Node }
	databaseService struct{ n *node.Node }
	deviceService   struct{ n *node.Node }
	documentService struct{ n *node.Node }
	bucketService   struct{ n *node.Node }
	inboxService    struct{ n *node.Node }
)

// Surface returns the surface that answers at addr, a host:port.
func Surface(addr string) node.Surface {
	return node.Surface{Name: node.SurfaceAPI, Addr: addr, Handler: Handler}
}

// Handler returns what answers the calls of a node's API: Connect, gRPC-Web and
// JSON over POST. It authorizes every call before it reads its body.
func Handler(n *node.Node) http.Handler { return guard(n, services(n)) }

// services answers calls that a guard has let through.
func services(n *node.Node) http.Handler {
	mux := http.NewServeMux()
	options := []connect.HandlerOption{
		connect.WithReadMaxBytes(maxMessage),
		connect.WithInterceptors(errorInterceptor{n}),
		connect.WithRecover(func(_ context.Context, spec connect.Spec, _ http.Header, bug any) error {
			n.Log().Error("panic in an API call", "call", spec.Procedure, "panic", fmt.Sprint(bug))
			return fault.Errorf(fault.Internal, "internal error: the daemon's log says more")
		}),
	}
	mux.Handle(weftv1connect.NewNodeServiceHandler(nodeService{n}, options...))
	mux.Handle(weftv1connect.NewSessionServiceHandler(sessionService{n}, options...))
	mux.Handle(weftv1connect.NewSpaceServiceHandler(spaceService{n}, options...))
	mux.Handle(weftv1connect.NewKeyServiceHandler(keyService{n}, options...))
	mux.Handle(weftv1connect.NewRelayServiceHandler(relayService{n}, options...))
	mux.Handle(weftv1connect.NewDatabaseServiceHandler(databaseService{n}, options...))
	mux.Handle(weftv1connect.NewDeviceServiceHandler(deviceService{n}, options...))
	mux.Handle(weftv1connect.NewDocumentServiceHandler(documentService{n}, options...))
	mux.Handle(weftv1connect.NewBucketServiceHandler(bucketService{n}, options...))
	mux.Handle(weftv1connect.NewInboxServiceHandler(inboxService{n}, options...))
	return told(mux)
}
