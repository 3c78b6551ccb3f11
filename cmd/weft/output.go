package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/weftdb/weft/cmd/weft/internal/tty"
)

// print prints v as one JSON value, or what text says for people.
func (a *app) print(v any, text func(w io.Writer)) error {
	a.endProgress()
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
