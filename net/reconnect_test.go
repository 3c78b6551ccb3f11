package net

import (
	"errors"
	"io"
	stdnet "net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// A silence is a wire between two hosts that carries bytes until it is cut, and
// then keeps its connections open and says nothing: a network that broke.
type silence struct {
	addr multiaddr.Multiaddr
	mu   sync.Mutex
	cut  bool
}

func newSilence(t *testing.T, to *party) *silence {
	t.Helper()
	full := to.Addrs()
	i := slices.IndexFunc(full, func(a multiaddr.Multiaddr) bool { return strings.Contains(a.String(), "/tcp/") })
	tcp, id := multiaddr.SplitLast(full[i])
	_, target, err := manet.DialArgs(tcp)
	if err != nil {
		t.Fatal(err)
	}
	l, err := stdnet.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	w := &silence{}
	w.addr, err = manet.FromNetAddr(l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	w.addr = w.addr.Encapsulate(id.Multiaddr())
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := stdnet.Dial("tcp", target)
			if err != nil {
				_ = in.Close()
				continue
			}
			t.Cleanup(func() { _, _ = in.Close(), out.Close() })
			go w.carry(in, out)
			go w.carry(out, in)
		}
	}()
	return w
}

func (w *silence) carry(to io.Writer, from io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		cut := w.cut
		w.mu.Unlock()
		if cut || err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (w *silence) sever() {
	w.mu.Lock()
	w.cut = true
	w.mu.Unlock()
}

// A peer that comes back while this host still takes its broken connection for a
// live one is served over the new connection at once.
func TestNewConnectionReplacesBrokenOne(t *testing.T) {
	a, b := newParty(t), newParty(t)
	ta := a.create(t)
	w := newSilence(t, b)
	if err := a.Connect(within(t), w.addr); err != nil {
		t.Fatal(err)
	}
	tb := b.join(t, ta)
	write(t, a, ta, 3)
	identical(t, tb, a.ID())
	w.sever()
	b.halt(t)
	b.start(t)
	tb = b.open(t, tb.ID())
	b.connect(t, a)
	write(t, a, ta, 3)
	identical(t, ta, b.ID())
	write(t, b, tb, 3)
	identical(t, tb, a.ID())
	// Another protocol is served over the new connection too.
	b.Handle("/test/echo/1", func(s network.Stream) { _, _ = io.Copy(s, s); _ = s.Close() })
	s, err := a.OpenStream(within(t), b.ID(), "/test/echo/1")
	if err != nil {
		t.Fatal(err)
	}
	_ = s.SetDeadline(time.Now().Add(20 * time.Second))
	_, err = s.Write([]byte("hello"))
	err = errors.Join(err, s.CloseWrite())
	if got, readErr := io.ReadAll(s); err != nil || readErr != nil || string(got) != "hello" {
		t.Fatalf("got %q, %v, %v", got, err, readErr)
	}
	b.Unhandle("/test/echo/1")
	if n := len(a.Routes(b.ID())); n < 2 {
		t.Fatalf("the broken connection was noticed: %d connections", n)
	}
}
