package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
)

// What came of a command stands on a line of its own: the bar is gone, whether its end was
// known, and whether it came there.
func TestBarGoes(t *testing.T) {
	for _, size := range []int64{-1, 1000} {
		for _, done := range []int64{0, 300, 1000} {
			var screen, out bytes.Buffer
			a := &app{out: &out, err: &screen, bar: newBar(&screen, size, "push")}
			if err := a.bar.Add64(done); err != nil {
				t.Fatal(err)
			}
			if err := a.print(nil, func(w io.Writer) { fmt.Fprintln(w, "done") }); err != nil || out.String() != "done\n" {
				t.Errorf("got %q, %v", out.String(), err)
			}
			line := strings.Split(screen.String(), "\r")
			if len(line) > 1 && strings.TrimSpace(line[len(line)-2]) != "" || line[len(line)-1] != "" {
				t.Errorf("%d of %d: the screen shows %q", done, size, screen.String())
			}
			if done == 300 && !strings.Contains(screen.String(), "push") {
				t.Errorf("%d of %d: no bar was drawn: %q", done, size, screen.String())
			}
		}
	}
}
