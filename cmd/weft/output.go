package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weftdb/weft/cmd/weft/internal/tty"
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

// table prints rows of columns for people; the first row is the heading.
func table(w io.Writer, rows ...[]string) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, r := range rows {
		cells := make([]string, len(r))
		for i, c := range r {
			cells[i] = tty.Printable(c)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	_ = t.Flush() // to a buffer
}

// terminal reports whether people read what is written to a stream, or type what it reads.
func terminal(stream any) bool {
	if s, ok := stream.(*tty.Screen); ok {
		stream = s.W
	}
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// when returns a time in RFC 3339, nil for none.
func when(t *timestamppb.Timestamp) *string {
	if t == nil {
		return nil
	}
	s := t.AsTime().UTC().Format(time.RFC3339Nano)
	return &s
}

// short returns a time for people, to the second, "-" for none.
func short(s *string) string {
	if s == nil {
		return "-"
	}
	t, err := time.Parse(time.RFC3339Nano, *s)
	if err != nil {
		return *s
	}
	return t.Local().Format(time.DateTime)
}

// count returns a number of things for people: "1 log", "2 logs".
func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// countAs is count for a word whose plural is another.
func countAs(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// size returns a number of bytes for people.
func size(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, u := float64(n)/1000, 0
	for v >= 999.95 && u < len(units)-1 {
		v, u = v/1000, u+1
	}
	return fmt.Sprintf("%.1f %cB", v, units[u])
}

// bytes returns where bytes of others go that need be no text: as they are to a file or a
// program, and to a terminal as text.
func (a *app) bytes() io.Writer {
	if terminal(a.out) {
		return a.out
	}
	return tty.Raw(a.out)
}
