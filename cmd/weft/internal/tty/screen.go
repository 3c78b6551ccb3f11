// Package tty is what stands between weft and the people at a terminal: what they see, what
// they type, and what a daemon tells them.
//
//	Screen    no character of others that a terminal acts on
//	Words     a line of a shell, divided into words and documents
//	History   what was typed before
//	NewLog    a log that says the same at most once a minute
//
// It knows no node.
package tty

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// A Screen is where people read: it writes text with every character that a terminal
// would act on as an escape, \u001b, which is that character in JSON too. So no name,
// document, message or refusal of somebody else moves the cursor, colours a line or turns
// its order round, wherever it is printed. Line feeds and tabs pass. All of weft's output
// goes through one, but for bytes that are no text.
type Screen struct {
	W io.Writer

	mu   sync.Mutex // guards what follows: a daemon logs while it prints
	part []byte     // the first bytes of a character whose others were not written yet
	buf  []byte
}

// Acts reports whether terminals act on a character: controls, marks of direction,
// separators of lines and invisible tags.
func Acts(r rune) bool {
	switch {
	case r == '\n' || r == '\t':
		return false
	case unicode.IsControl(r):
		return true
	}
	return r >= 0x200e && (r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r >= 0xe0000 && r <= 0xe007f) ||
		r == 0x061c || r == 0xfeff
}

// Write writes b; of a character that b cuts, the first bytes wait for the others.
func (s *Screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.part) == 0 && plain(b) {
		if _, err := s.W.Write(b); err != nil {
			return 0, err
		}
		return len(b), nil
	}
	in := append(s.part, b...) //nolint:gocritic // s.part is set again below
	s.buf = s.buf[:0]
	for len(in) > 0 && utf8.FullRune(in) {
		r, n := utf8.DecodeRune(in)
		s.buf = escape(s.buf, r, in[:n])
		in = in[n:]
	}
	s.part = append([]byte(nil), in...)
	if _, err := s.W.Write(s.buf); err != nil {
		return 0, err
	}
	return len(b), nil
}

// End writes what is left of a character that is not whole.
func (s *Screen) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.part) > 0 {
		for _, c := range s.part {
			_, _ = fmt.Fprintf(s.W, `\x%02x`, c) // nothing follows that could fail
		}
		s.part = nil
	}
}

func plain(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf || c < ' ' && c != '\n' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// escape appends a character, which is the bytes of in.
func escape(dst []byte, r rune, in []byte) []byte {
	switch {
	case r == utf8.RuneError && len(in) < 3: // no character at all
		for _, c := range in {
			dst = fmt.Appendf(dst, `\x%02x`, c)
		}
		return dst
	case !Acts(r):
		return append(dst, in...)
	case r > 0xffff:
		r -= 0x10000
		return fmt.Appendf(dst, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
	}
	return fmt.Appendf(dst, `\u%04x`, r)
}

// Raw returns what a Screen writes to: for bytes that are no text, and what draws on
// purpose.
func Raw(w io.Writer) io.Writer {
	if s, ok := w.(*Screen); ok {
		return s.W
	}
	return w
}

// Printable quotes a text that would move the cursor or break a line: a name from another
// device, or of a file.
func Printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
