package tty

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"strings"

	"github.com/weftdb/weft/internal/fault"
)

// Interrupts reads a terminal for an editor of lines. An interrupt empties the line and ends it.
type Interrupts struct {
	terminal io.Reader
	next     []byte // what the editor reads before more of the terminal
	hit      bool
}

// NewInterrupts returns what reads a terminal.
func NewInterrupts(terminal io.Reader) *Interrupts { return &Interrupts{terminal: terminal} }

// Hit tells whether there was an interrupt since the last call. It is called between reads.
func (r *Interrupts) Hit() bool {
	hit := r.hit
	r.hit = false
	return hit
}

func (r *Interrupts) Read(b []byte) (int, error) {
	if len(r.next) > 0 {
		n := copy(b, r.next)
		r.next = r.next[n:]
		return n, nil
	}
	n, err := r.terminal.Read(b)
	if i := bytes.IndexByte(b[:n], 3); i >= 0 { // control C
		r.next = append([]byte("\x15\r"), bytes.ReplaceAll(b[i+1:n], []byte{3}, nil)...) // control U, return
		b[i], r.hit = 5, true                                                            // control E
		return i + 1, nil
	}
	return n, err
}

// Words divides a line: at white space, but for what is in quotes, and for documents and
// lists, which are one word as they are. whole says that nothing is open.
func Words(line string) (out []string, whole bool, err error) {
	for i := 0; i < len(line); {
		switch c := line[i]; c {
		case ' ', '\t', '\n', '\r':
			i++
		case '{', '[':
			n := closing(line[i:])
			if n < 0 {
				return nil, false, nil
			}
			out, i = append(out, line[i:i+n]), i+n
		case '\'', '"':
			n := strings.IndexByte(line[i+1:], c)
			if n < 0 {
				return nil, true, fault.Errorf(fault.Usage, "a quote is not closed: %.40q", line[i:])
			}
			out, i = append(out, line[i+1:i+1+n]), i+n+2
		default:
			n := strings.IndexAny(line[i:], " \t\n\r{['\"")
			if n < 0 {
				n = len(line) - i
			}
			word := line[i : i+n]
			if i += n; strings.HasSuffix(word, "=") && i < len(line) && strings.IndexByte("{['\"", line[i]) >= 0 { // --flag={…}
				rest, whole, err := Words(line[i:])
				if !whole || err != nil {
					return nil, whole, err
				}
				return append(append(out, word+rest[0]), rest[1:]...), true, nil
			}
			out = append(out, word)
		}
	}
	return out, true, nil
}

// closing returns where the brackets that text begins with are closed, -1 if nowhere.
func closing(text string) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"', c == '\'':
			quote = c
		case c == '{', c == '[':
			depth++
		case c == '}', c == ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// maxHistory bounds the lines that are kept.
const maxHistory = 1000

// A History is what was typed, the newest last. It is kept in a file that only its owner
// reads; one that cannot be read or written is a history of this shell only.
type History struct {
	lines []string
	file  *os.File // nil for none
}

// OpenHistory opens the history that a file keeps, and makes the file.
func OpenHistory(name string) *History {
	h := &History{}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return h
	}
	in := bufio.NewScanner(f)
	for in.Scan() {
		h.lines = append(h.lines, in.Text())
	}
	h.lines = h.lines[max(0, len(h.lines)-maxHistory):]
	h.file = f
	return h
}

// Add keeps a line, unless it begins with a space or is the last one again.
func (h *History) Add(line string) {
	if strings.TrimSpace(line) == "" || line[0] == ' ' || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	if h.lines = append(h.lines, line); len(h.lines) > maxHistory {
		h.lines = h.lines[1:]
	}
	if h.file != nil {
		_, _ = h.file.WriteString(strings.ReplaceAll(line, "\n", " ") + "\n") // for people only
	}
}

// Len is how many lines there are.
func (h *History) Len() int { return len(h.lines) }

// At returns a line, the newest as 0.
func (h *History) At(i int) string { return h.lines[len(h.lines)-1-i] }

// Close cuts the file to what is kept.
func (h *History) Close() {
	if h.file == nil {
		return
	}
	if err := h.file.Truncate(0); err == nil && len(h.lines) > 0 {
		_, _ = h.file.WriteString(strings.Join(h.lines, "\n") + "\n") // for people only
	}
	_ = h.file.Close() // likewise
}
