package tty

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// A read of what never comes ends with the command line, and gives nothing after it.
func TestInputEnds(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	in := Input(ctx, r)
	go func() {
		_, _ = w.Write([]byte("some")) // returns when all of it is read
		cancel()
	}()
	got, err := io.ReadAll(in)
	if !errors.Is(err, context.Canceled) || string(got) != "some" && string(got) != "" {
		t.Fatalf("got %q, %v", got, err)
	}
	if n, err := in.Read(make([]byte, 1)); n != 0 || !errors.Is(err, context.Canceled) {
		t.Fatalf("after that: %d, %v", n, err)
	}
}

// What comes is what is read, whatever the pieces, and with its error.
func TestInputReadsAll(t *testing.T) {
	text := strings.Repeat("a line\n", 30_000) // longer than what is read at once
	for name, r := range map[string]io.Reader{
		"at once": strings.NewReader(text), "by bytes": iotest.OneByteReader(strings.NewReader(text[:5000])),
		"with its end": iotest.DataErrReader(strings.NewReader(text)), "by halves": iotest.HalfReader(strings.NewReader(text)),
	} {
		got, err := io.ReadAll(Input(t.Context(), r))
		want := text
		if name == "by bytes" {
			want = text[:5000]
		}
		if string(got) != want || err != nil {
			t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(want), err)
		}
	}
	failed := errors.New("the disk is gone")
	got, err := io.ReadAll(Input(t.Context(), io.MultiReader(strings.NewReader("begin"), iotest.ErrReader(failed))))
	if string(got) != "begin" || !errors.Is(err, failed) {
		t.Errorf("got %q, %v", got, err)
	}
}

// A read that waits calls what was asked for once, and goes on; its error is the read's.
func TestOnIdle(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	in := Input(t.Context(), r)
	idle := 0
	OnIdle(in, func() error {
		idle++
		go func() { _, _ = w.Write([]byte("some")) }()
		return nil
	})
	buf := make([]byte, 10)
	if n, err := in.Read(buf); n != 4 || err != nil || idle != 1 {
		t.Fatalf("got %d bytes, %v after %d calls, want 4 after one", n, err, idle)
	}
	OnIdle(in, func() error { return io.ErrNoProgress })
	if _, err := in.Read(buf); !errors.Is(err, io.ErrNoProgress) {
		t.Fatalf("got %v, want the error of what was called", err)
	}
	OnIdle(strings.NewReader(""), nil) // is idle never
}
