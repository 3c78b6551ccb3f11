package tty

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/term"
)

func TestScreen(t *testing.T) {
	const family = "👨‍👩‍👧 naïve 日本\tx\n"
	for in, want := range map[string]string{
		"plain\n": "plain\n", family: family, "\x1b[2J": `\u001b[2J`, "\u009b": `\u009b`, "\x9b": `\x9b`,
		"\u202e": `\u202e`, "\r\n": `\u000d` + "\n", "\U000e0041": `\udb40\udc41`, "a\xe2\x80": `a\xe2\x80`, "\ufffd": "\ufffd",
	} {
		for cut := range len(in) + 1 { // wherever a write ends
			var out bytes.Buffer
			s := &Screen{W: &out}
			for _, part := range []string{in[:cut], in[cut:]} {
				if n, err := s.Write([]byte(part)); err != nil || n != len(part) {
					t.Fatal(n, err)
				}
			}
			if s.End(); out.String() != want {
				t.Errorf("%q cut at %d: got %q, want %q", in, cut, &out, want)
			}
		}
	}
}

// The same line is said once a minute, another at once, and errors always.
func TestSeldom(t *testing.T) {
	var out bytes.Buffer
	h := NewLog(&out, false).Handler()
	begin := time.Unix(1_700_000_000, 0)
	say := func(after time.Duration, level slog.Level, text string, attrs ...slog.Attr) {
		t.Helper()
		r := slog.NewRecord(begin.Add(after), level, text, 0)
		r.AddAttrs(attrs...)
		if h.Enabled(context.Background(), level) {
			if err := h.Handle(context.Background(), r); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 100 {
		say(time.Duration(i)*time.Second, slog.LevelInfo, "refused", slog.String("peer", "a"))
	}
	say(time.Second, slog.LevelInfo, "refused", slog.String("peer", "b"))
	say(2*time.Second, slog.LevelInfo, "refused", slog.String("peer", "b"))
	say(0, slog.LevelError, "broken")
	say(0, slog.LevelError, "broken")
	say(0, slog.LevelDebug, "detail")
	got := out.String()
	for text, want := range map[string]int{"peer=a": 2, "peer=b": 1, "msg=broken": 2, "detail": 0} {
		if n := strings.Count(got, text); n != want {
			t.Errorf("%s is said %d times, want %d:\n%s", text, n, want, got)
		}
	}
	// What is remembered is bounded.
	s := h.(*seldom).said
	for i := range 3 * maxSaid {
		say(0, slog.LevelInfo, fmt.Sprint(i))
	}
	if len(s.at) > maxSaid {
		t.Errorf("%d lines are remembered", len(s.at))
	}
	// A log with attributes has lines of its own, and shares the memory.
	out.Reset()
	h = h.WithAttrs([]slog.Attr{slog.String("database", "x")})
	say(0, slog.LevelInfo, "again")
	say(0, slog.LevelInfo, "again")
	h = h.WithAttrs([]slog.Attr{slog.String("database", "y")})
	say(0, slog.LevelInfo, "again")
	if n := strings.Count(out.String(), "msg=again"); n != 2 {
		t.Errorf("got %d lines:\n%s", n, &out)
	}
}

// A shell divides lines at white space, and leaves documents whole.
func TestWords(t *testing.T) {
	for line, want := range map[string][]string{
		"": nil, "  find  c ": {"find", "c"}, "find c {a: 'x y', b: [1, {c: '}'}]} --limit 3": {"find", "c", "{a: 'x y', b: [1, {c: '}'}]}", "--limit", "3"},
		"get c 'a b' \"c d\" ''": {"get", "c", "a b", "c d", ""}, "find c --sort={a: 1}": {"find", "c", "--sort={a: 1}"},
		"update c {} [{$set: {a: 1}}]": {"update", "c", "{}", "[{$set: {a: 1}}]"}, `insert c {"a": "\"}"}`: {"insert", "c", `{"a": "\"}"}`},
		"insert c {}{}": {"insert", "c", "{}", "{}"}, "find c{a: 1}": {"find", "c", "{a: 1}"},
	} {
		got, whole, err := Words(line)
		if err != nil || !whole || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v, %v, want %q", line, got, whole, err, want)
		}
	}
	for _, open := range []string{"find c {", "find c {a: '}", "insert c [1, {}", "find c --sort={a"} {
		if _, whole, err := Words(open); whole || err != nil {
			t.Errorf("%q is not open: %v", open, err)
		}
	}
	if _, whole, err := Words("get c 'x"); !whole || err == nil {
		t.Errorf("a quote that is open: got %v, %v", whole, err)
	}
}

// What was typed is there the next time, the newest first, and bounded.
func TestHistory(t *testing.T) {
	name := filepath.Join(t.TempDir(), "history")
	h := OpenHistory(name)
	for _, line := range []string{"one", "one", " secret", "", "two"} {
		h.Add(line)
	}
	h.Close()
	if h = OpenHistory(name); h.Len() != 2 || h.At(0) != "two" || h.At(1) != "one" {
		t.Errorf("got %q", h.lines)
	}
	for i := range 2 * maxHistory {
		h.Add(fmt.Sprint(i))
	}
	h.Close()
	text, err := os.ReadFile(name)
	if n := strings.Count(string(text), "\n"); err != nil || n != maxHistory {
		t.Errorf("the file has %d lines, %v", n, err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("others read it: %v, %v", info, err)
	}
	// Without a file it lasts as long as the shell.
	h = OpenHistory(filepath.Join(name, "none"))
	h.Add("x")
	if h.Close(); h.Len() != 1 {
		t.Errorf("got %q", h.lines)
	}
}

// An interrupt ends a line with nothing of it left, wherever the cursor is, and what is typed
// after it is a line of its own.
func TestInterrupts(t *testing.T) {
	keys := NewInterrupts(iotest.OneByteReader(strings.NewReader("find {\rabc\x03ok\rabc\x1b[D\x1b[D\x03\x03next\r")))
	line := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{keys, io.Discard}, "> ")
	for _, want := range []struct {
		text string
		hit  bool
	}{{"find {", false}, {"", true}, {"ok", false}, {"", true}, {"", true}, {"next", false}} {
		if got, err := line.ReadLine(); err != nil || got != want.text || keys.Hit() != want.hit {
			t.Errorf("got %q, %v, want %+v", got, err, want)
		}
	}
}
