package node

import (
	"context"
	"crypto/tls"
	"errors"
	stdnet "net"
	"net/http"
	"os"
	"slices"
	"syscall"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node/internal/addrs"
	"github.com/weftdb/weft/node/internal/server"
)

// SurfaceAPI is the name of the surface that the command line calls; daemon.json
// in the home says where it listens.
const SurfaceAPI = "api"

// A Surface is a way in from outside, such as node/rpc. It calls the node's
// public methods and asks [Node.Authorize] once for each request. The node
// starts surfaces last and ends them first.
type Surface struct {
	// Name tells surfaces apart, such as "api"; the flag that says where it
	// listens has it too.
	Name string
	// Addr is the host:port where it listens; the port may be 0.
	Addr string
	// TLS has what the surface proves itself with; nil means that it does not.
	TLS *tls.Config
	// Handler returns what answers; it is called once, with the open node.
	Handler func(*Node) http.Handler
}

// served is a surface that answers requests.
type served struct {
	*server.Server
	name string // of the surface
}

// startSurfaces opens the surfaces of the configuration and says in the home where the API
// is. That is said when all of them listen, so whoever reads it can call.
func (n *Node) startSurfaces(ctx context.Context) error {
	for _, s := range n.cfg.Surfaces {
		l, err := listen(ctx, s)
		if err != nil {
			return err
		}
		if err := n.serve(s, l, s.Handler(n)); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	if addr := n.SurfaceAddr(SurfaceAPI); addr != "" {
		n.home.Fell = 0
		return n.home.Announce(Daemon{API: addr, PID: os.Getpid()})
	}
	return nil
}

// listen names the flag that says where, as the address came from a person.
func listen(ctx context.Context, s Surface) (stdnet.Listener, error) {
	var lc stdnet.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.Addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fault.Of(ErrInUse, "address %s is in use by another process: choose another, such as --%s 127.0.0.1:0", s.Addr, s.Name)
	}
	if err != nil {
		return nil, fault.Of(ErrInvalid, "cannot listen at --%s %s: %v", s.Name, s.Addr, addrs.Cause(err))
	}
	return l, nil
}

// serve answers the requests that come by l with h until the node is closed; it closes l.
// It returns at once.
func (n *Node) serve(s Surface, l stdnet.Listener, h http.Handler) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	n.servers = append(n.servers, served{server.Start(n.life, l, s.TLS, h), s.Name})
	return nil
}

// SurfaceAddr returns the host:port where a surface listens, or "".
func (n *Node) SurfaceAddr(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.IndexFunc(n.servers, func(s served) bool { return s.name == name })
	if i < 0 {
		return ""
	}
	return n.servers[i].Addr()
}
