package node

import (
	"context"
	"errors"
	stdnet "net"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/weftdb/weft/internal/fault"
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
	// Handler returns what answers; it is called once, with the open node.
	Handler func(*Node) http.Handler
}

// A server answers requests at one listener.
type server struct {
	http   *http.Server
	cancel context.CancelFunc // ends the requests that are under way
	conns  sync.WaitGroup     // connections that are served
	done   chan error         // the server's last word
	name   string             // of the surface
	addr   string
}

// startSurfaces opens the surfaces of the configuration and says in the home where the API
// is. That is said when all of them listen, so whoever reads it can call.
func (n *Node) startSurfaces(ctx context.Context) error {
	for _, s := range n.cfg.Surfaces {
		l, err := listen(ctx, s)
		if err != nil {
			return err
		}
		if err := n.serve(s.Name, l, s.Handler(n)); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	if addr := n.SurfaceAddr(SurfaceAPI); addr != "" {
		return n.home.announce(Daemon{API: addr, PID: os.Getpid()})
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
		return nil, fault.Of(ErrInvalid, "cannot listen at --%s %s: %v", s.Name, s.Addr, err)
	}
	return l, nil
}

// serve answers the requests that come by l with h until the node is closed; it closes l.
// It returns at once. Plain HTTP/2 is there for client streams, which it can refuse without
// ending the answer early. Headers and idle connections are bounded in time; a call is not,
// because streams last as long as their callers want.
func (n *Node) serve(name string, l stdnet.Listener, h http.Handler) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	life, cancel := context.WithCancel(n.life)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &server{
		cancel: cancel,
		http: &http.Server{
			BaseContext:       func(stdnet.Listener) context.Context { return life },
			Handler:           h,
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    16 << 10,
			Protocols:         protocols,
		},
		done: make(chan error, 1),
		name: name,
		addr: l.Addr().String(),
	}
	s.http.ConnState = s.count
	n.wg.Go(func() { s.done <- s.http.Serve(l) })
	n.servers = append(n.servers, s)
	return nil
}

// count counts the connections that are served.
func (s *server) count(_ stdnet.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.conns.Done()
	}
}

// lastWords is how long requests that are told to end may take to say so.
const lastWords = 2 * time.Second

// close tells the requests that are under way to end and waits for them. Those that do not
// end in that time lose their connections. It returns when no connection is served any
// more, for which http.Server.Close does not wait.
func (s *server) close() error {
	s.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	if last := <-s.done; !errors.Is(last, http.ErrServerClosed) {
		err = errors.Join(err, last)
	}
	s.conns.Wait()
	return err
}

// SurfaceAddr returns the host:port where a surface listens, or "".
func (n *Node) SurfaceAddr(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.IndexFunc(n.servers, func(s *server) bool { return s.name == name })
	if i < 0 {
		return ""
	}
	return n.servers[i].addr
}
