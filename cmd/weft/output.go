package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"

	"golang.org/x/term"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/cmd/weft/internal/words"
)

// print prints v as one JSON value, or what text says for people.
func (a *app) print(v any, text func(w io.Writer)) error {
	if a.json {
		return a.line(v)
	}
	w := bufio.NewWriter(a.out)
	text(w)
	return w.Flush()
}

// line prints v as one line of JSON.
func (a *app) line(v any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// terminal reports whether people read what is written to a stream, or type what it reads.
func terminal(stream any) bool {
	if s, ok := stream.(*tty.Screen); ok {
		stream = s.W
	}
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// bytes returns where bytes of others go that need be no text: as they are to a file or a
// program, and to a terminal as text.
func (a *app) bytes() io.Writer {
	if terminal(a.out) {
		return a.out
	}
	return tty.Raw(a.out)
}

// What package words says, by the names that commands call.

func table(w io.Writer, rows ...[]string)      { words.Table(w, rows...) }
func when(t *timestamppb.Timestamp) *string    { return words.When(t) }
func short(s *string) string                   { return words.Short(s) }
func count(n int64, what string) string        { return words.Count(n, what) }
func countAs(n int64, one, many string) string { return words.CountAs(n, one, many) }
func size(n int64) string                      { return words.Size(n) }
func list[T any](s []T) []T                    { return words.List(s) }
