package strangers

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

func nobody(peer.ID) bool { return false }

// The budget of one stranger, of all, and how it comes back.
func TestBudget(t *testing.T) {
	b := New(nobody, time.Second)
	for i := range AllStreams/Streams + 1 {
		p := peer.ID(string(rune('a' + i)))
		for j := range Streams {
			if ok := b.enter(p); ok != (i < AllStreams/Streams) {
				t.Fatalf("stream %d of stranger %d: %v", j, i, ok)
			}
		}
		if b.enter(p) {
			t.Fatalf("stranger %d has a stream too many", i)
		}
	}
	if !b.take("a", Bytes) || b.take("a", 1) || b.take("nobody", 1) {
		t.Error("the share of one stranger is not its bound")
	}
	b.give("a", Bytes)
	b.all.Bytes = AllBytes - 10
	if !b.take("b", 10) || b.take("c", 1) {
		t.Error("the share of all strangers is not their bound")
	}
	b.give("b", 10)
	for i := range AllStreams / Streams {
		for range Streams {
			b.leave(peer.ID(string(rune('a' + i))))
		}
	}
	if all, each := b.Shares(); len(each) != 0 || all != (Share{Bytes: AllBytes - 10}) {
		t.Errorf("left over: %d peers, %+v", len(each), all)
	}
}

// A line is a stream on which a peer sends what in holds.
type line struct {
	network.Stream
	in    bytes.Buffer
	reset bool
}

func (l *line) Conn() network.Conn                 { return far{} }
func (l *line) Read(b []byte) (int, error)         { return l.in.Read(b) }
func (l *line) Write(b []byte) (int, error)        { return len(b), nil }
func (l *line) Reset() error                       { l.reset = true; return nil }
func (l *line) SetWriteDeadline(t time.Time) error { return nil }

type far struct{ network.Conn }

func (far) RemotePeer() peer.ID { return "far" }

// What a stranger sent counts until it is answered, done with, trusted, or left.
func TestVisit(t *testing.T) {
	for name, free := range map[string]func(v *Visit){
		"answered": func(v *Visit) { _, _ = v.Write([]byte{1}) },
		"done":     func(v *Visit) { Answered(v) },
		"trusted":  func(v *Visit) { Trust(v) },
	} {
		b, l := New(nobody, time.Second), &line{}
		v, ok := b.Enter(l)
		if !ok {
			t.Fatal("the first stranger is refused")
		}
		l.in.Write(make([]byte, Bytes))
		if n, err := io.Copy(io.Discard, io.LimitReader(Reader(v), Bytes)); n != Bytes || err != nil {
			t.Errorf("%s: read %d bytes, %v", name, n, err)
		}
		if all, _ := b.Shares(); all != (Share{Bytes: Bytes, Streams: 1}) {
			t.Errorf("%s: %+v counted", name, all)
		}
		free(v)
		if all, _ := b.Shares(); all != (Share{Streams: 1}) {
			t.Errorf("%s: %+v counted after it", name, all)
		}
		l.in.Write(make([]byte, Bytes+1))
		_, err := io.Copy(io.Discard, v)
		if crowded := errors.Is(err, errCrowded); crowded == (name == "trusted") || crowded != l.reset {
			t.Errorf("%s: got %v, reset %v", name, err, l.reset)
		}
		v.Leave()
		if all, each := b.Shares(); all != (Share{}) || len(each) != 0 {
			t.Errorf("%s: %+v left over", name, all)
		}
	}
}

// Who is known by now is not held to the bounds of a stranger.
func TestBecomesKnown(t *testing.T) {
	known := false
	b, l := New(func(peer.ID) bool { return known }, time.Second), &line{}
	v, _ := b.Enter(l)
	if n := FrameLimit(v, 1<<20); n >= Bytes {
		t.Errorf("a stranger may send a frame of %d bytes", n)
	}
	known = true
	l.in.Write(make([]byte, 2*Bytes))
	if n, err := io.Copy(io.Discard, v); n != 2*Bytes || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if n := FrameLimit(v, 1<<20); n != 1<<20 {
		t.Errorf("a known peer may send a frame of %d bytes", n)
	}
}
