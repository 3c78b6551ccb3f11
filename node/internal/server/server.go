// Package server answers HTTP requests at one listener, and ends with every connection.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// A Server answers requests at one listener.
type Server struct {
	http   *http.Server
	cancel context.CancelFunc // ends the requests that are under way
	conns  sync.WaitGroup     // connections that are served
	done   chan error         // the server's last word
	addr   string
}

// Start answers the requests that come by l with h until Close, which the caller owes; it
// closes l. ctx bounds what the requests do. It returns at once. With certs, which may be nil, it
// speaks TLS, and HTTP/1.1 and HTTP/2 in it. Plain HTTP/2 is there for client streams, which it
// can refuse without ending the answer early. Headers and idle connections are bounded in
// time; a call is not, because streams last as long as their callers want.
func Start(ctx context.Context, l net.Listener, certs *tls.Config, h http.Handler) *Server {
	life, cancel := context.WithCancel(ctx)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	if certs == nil {
		protocols.SetUnencryptedHTTP2(true)
	} else {
		protocols.SetHTTP2(true)
		certs = certs.Clone() // ServeTLS adds to it
	}
	s := &Server{
		cancel: cancel,
		http: &http.Server{
			BaseContext:       func(net.Listener) context.Context { return life },
			Handler:           h,
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    16 << 10,
			Protocols:         protocols,
			TLSConfig:         certs,
		},
		done: make(chan error, 1),
		addr: l.Addr().String(),
	}
	s.http.ConnState = s.count
	go func() { // Close waits for it
		if certs != nil {
			s.done <- s.http.ServeTLS(l, "", "")
			return
		}
		s.done <- s.http.Serve(l)
	}()
	return s
}

// Addr returns the host:port where it listens.
func (s *Server) Addr() string { return s.addr }

// count counts the connections that are served.
func (s *Server) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.conns.Done()
	}
}

// lastWords is how long requests that are told to end may take to say so.
const lastWords = 2 * time.Second

// Close tells the requests that are under way to end and waits for them. Those that do not
// end in that time lose their connections. It returns when no connection is served any
// more, for which http.Server.Close does not wait. It is called once.
func (s *Server) Close() error {
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
