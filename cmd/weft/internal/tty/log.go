package tty

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Bounds of what a log says.
const (
	sayAgain = time.Minute // after the same line; errors always are said
	maxSaid  = 4096        // lines that are remembered
)

// NewLog returns the log of a daemon: a line is said at most once a minute, so that who is
// refused again and again does not fill a disk. verbose says all.
func NewLog(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	text := slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})
	if verbose {
		return slog.New(text)
	}
	return slog.New(&seldom{Handler: text, said: &said{at: map[string]time.Time{}}})
}

// seldom is a handler that says the same at most once a minute.
type seldom struct {
	slog.Handler
	with string // what it adds to each line
	said *said
}

// said is when which lines were said last, for all handlers of a log.
type said struct {
	mu sync.Mutex // guards at
	at map[string]time.Time
}

// again reports whether a line was said less than a minute before now, and notes it if not.
// When too many are noted they are forgotten: then one is said more often.
func (s *said) again(line string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.at[line]; ok && now.Sub(at) < sayAgain {
		return true
	}
	if len(s.at) >= maxSaid {
		clear(s.at)
	}
	s.at[line] = now
	return false
}

func (h *seldom) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelError {
		line := strings.Builder{}
		line.WriteString(h.with + r.Message)
		r.Attrs(func(a slog.Attr) bool {
			line.WriteString(" " + a.String())
			return true
		})
		if h.said.again(line.String(), r.Time) {
			return nil
		}
	}
	return h.Handler.Handle(ctx, r)
}

func (h *seldom) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := h.with
	for _, a := range attrs {
		with += a.String() + " "
	}
	return &seldom{h.Handler.WithAttrs(attrs), with, h.said}
}

func (h *seldom) WithGroup(name string) slog.Handler {
	return &seldom{h.Handler.WithGroup(name), h.with + name + ".", h.said}
}
