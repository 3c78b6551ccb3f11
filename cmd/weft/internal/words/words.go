// Package words says numbers, times, sizes and tables as people read them, and as JSON has them.
package words

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weftdb/weft/cmd/weft/internal/tty"
)

// Table prints rows of columns for people; the first row is the heading.
func Table(w io.Writer, rows ...[]string) {
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

// When returns a time in RFC 3339, nil for none.
func When(t *timestamppb.Timestamp) *string {
	if t == nil {
		return nil
	}
	s := t.AsTime().UTC().Format(time.RFC3339Nano)
	return &s
}

// Until returns Unix seconds in RFC 3339, nil for 0.
func Until(seconds int64) *string {
	if seconds == 0 {
		return nil
	}
	s := time.Unix(seconds, 0).UTC().Format(time.RFC3339)
	return &s
}

// Short returns a time for people, to the second, "-" for none.
func Short(s *string) string {
	if s == nil {
		return "-"
	}
	t, err := time.Parse(time.RFC3339Nano, *s)
	if err != nil {
		return *s
	}
	return t.Local().Format(time.DateTime)
}

// Count returns a number of things for people: "1 log", "2 logs".
func Count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// CountAs is [Count] for a word whose plural is another.
func CountAs(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Size returns a number of bytes for people.
func Size(n int64) string {
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

// List returns s, or an empty list for none, which JSON shows as [].
func List[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
