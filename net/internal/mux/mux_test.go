package mux

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// A wire is one end of a pipe, with what a stream of libp2p has more.
type wire struct{ net.Conn }

func (w wire) Reset() error { return w.Close() }

// Either side opens streams, which say what they are for.
func TestLanes(t *testing.T) {
	near, far := net.Pipe()
	got := make(chan *Session, 1)
	go func() {
		s, err := Accept(wire{far})
		if err != nil {
			t.Error(err)
		}
		got <- s
	}()
	a, err := Ask(wire{near}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	b := <-got
	for lane, side := range []struct{ from, to *Session }{{a, b}, {b, a}} {
		s, err := side.from.Open(t.Context(), byte(lane))
		if err != nil {
			t.Fatal(err)
		}
		r, err := side.to.Next()
		if err != nil {
			t.Fatal(err)
		}
		if l, err := ReadLane(r, time.Minute); err != nil || l != byte(lane) {
			t.Errorf("got lane %d, %v, want %d", l, err, lane)
		}
		_, _ = s.Write([]byte("hello"))
		_ = s.CloseWrite()
		if said, err := io.ReadAll(r); err != nil || string(said) != "hello" {
			t.Errorf("got %q, %v", said, err)
		}
	}
	if n := a.Streams(); n != 2 || a.Ended() {
		t.Errorf("%d streams are open, ended: %v", n, a.Ended())
	}
	_ = a.Close()
	if _, err := b.Next(); err == nil || !a.Ended() {
		t.Error("the session goes on")
	}
	_ = b.Close()
}

func TestRefused(t *testing.T) {
	near, far := net.Pipe()
	go Refuse(wire{far})
	if _, err := Ask(wire{near}, time.Minute); !errors.Is(err, ErrStranger) {
		t.Errorf("got %v, want ErrStranger", err)
	}
	near, far = net.Pipe()
	_ = far.Close()
	if _, err := Ask(wire{near}, time.Minute); err == nil || errors.Is(err, ErrStranger) {
		t.Errorf("a stream that broke: got %v", err)
	}
}

// Windows grow while there is room, and give back no more than they took.
func TestWindows(t *testing.T) {
	b := &budget{}
	open := func() *share {
		m, _ := b.share()
		if err := m.ReserveMemory(256<<10, 0); err != nil {
			t.Fatal(err)
		}
		return m.(*share)
	}
	one, two := open(), open()
	if err := one.ReserveMemory(maxWindows, 0); err != nil {
		t.Fatal(err)
	}
	if two.ReserveMemory(1, 0) == nil {
		t.Error("windows are above their limit")
	}
	one.ReleaseMemory(10)
	if err := two.ReserveMemory(10, 0); err != nil {
		t.Error(err)
	}
	one.Done()
	one.Done()
	two.Done()
	if b.used != 0 {
		t.Errorf("%d bytes are left over", b.used)
	}
}
