//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The README and the guides are transcripts: what they say to type is run, line by line, and
// what they say comes of it is compared.
//
//	```console ann        a terminal on the machine "ann"; all blocks of a page with one
//	                      name are one session, with an empty home and in an empty folder
//	$ weft id             a command; "> " begins its next line
//	identity  <ann>       what it prints. <ann> is any word at first, and from then on this
//	                      word, in commands, too; … is anything in a line, and a line of
//	                      nothing but … is any lines
//
// A command fails if and only if the last line that it prints begins with "weft: " or is an
// error in JSON. One that
// ends with & runs on; the next begins when its output is there. Devices hear of each other in
// their own time: a command that only looks is typed again until it shows what the page says.
//
// Several machines are one here, so the daemons of each listen at a port of its own on loopback
// where a page says no other, do not announce themselves, and log to a file.

// pages are the transcripts, from this folder.
func pages(t *testing.T) []string {
	t.Helper()
	guides, err := filepath.Glob("../../docs/guide/*.md")
	if err != nil || len(guides) < 8 {
		t.Fatalf("got %d guides, %v", len(guides), err)
	}
	return append([]string{"../../README.md"}, guides...)
}

// A step is one command of a page and what it is to print.
type step struct {
	terminal string
	command  string
	want     []string
	from, to int // the lines of the page that want is
}

// A fence is a block of a page that is no text.
type fence struct {
	info string
	line int // of its first line, from 0
	text []string
}

// fenced is a fence of a page.
var fenced = regexp.MustCompile("(?ms)^```.*?^```$")

func fences(page string) (out []fence) {
	var open *fence
	for i, line := range strings.Split(page, "\n") {
		switch {
		case strings.HasPrefix(line, "```") && open == nil:
			open = &fence{info: strings.TrimPrefix(line, "```"), line: i + 1}
		case strings.HasPrefix(line, "```"):
			out = append(out, *open)
			open = nil
		case open != nil:
			open.text = append(open.text, line)
		}
	}
	return out
}

// steps returns the commands of a page; a block of a language that nobody checks is an error,
// and a command that is in none.
func steps(page string) (out []step, err error) {
	if bare := regexp.MustCompile(`(?m)^( {4,}|\t+|~~~).*`).FindString(fenced.ReplaceAllString(page, "")); bare != "" {
		return nil, fmt.Errorf("%q: a block that is not run: begin it with ```console", bare)
	}
	lines, before, last := strings.Split(page, "\n"), "", 0
	for _, f := range fences(page) {
		lang, terminal, _ := strings.Cut(f.info, " ")
		said := strings.ToLower(strings.Join(lines[last:f.line-1], " "))
		if last = f.line + len(f.text) + 1; terminal != before && !regexp.MustCompile(`\b`+terminal+`\b`).MatchString(said) {
			return nil, fmt.Errorf("line %d: the text before the block does not say that it is on the machine %q", f.line, terminal)
		}
		before = terminal
		switch lang {
		case "console":
		case "go", "text": // Go is compared with programs that are compiled; text is no command
			if i := slices.IndexFunc(f.text, func(l string) bool {
				return strings.HasPrefix(l, "$ ") || lang == "text" && strings.HasPrefix(l, "weft ")
			}); i >= 0 {
				return nil, fmt.Errorf("line %d: a command in a block that is not run: begin the block with ```console", f.line+i+1)
			}
			continue
		default:
			return nil, fmt.Errorf("line %d: a block of %q is not run: begin it with ```console", f.line, lang)
		}
		for i, line := range f.text {
			at := f.line + i
			switch {
			case strings.HasPrefix(line, "$ "):
				out = append(out, step{terminal: terminal, command: line[2:], from: at + 1, to: at + 1})
				continue
			case i == 0:
				return nil, fmt.Errorf("line %d: the block does not begin with a command", at+1)
			}
			s := &out[len(out)-1]
			if more, is := strings.CutPrefix(line, "> "); is && len(s.want) == 0 {
				s.command, s.from, s.to = s.command+"\n"+more, at+1, at+1
				continue
			}
			s.want, s.to = append(s.want, line), at+1
		}
	}
	return out, nil
}

func TestTranscripts(t *testing.T) {
	for _, page := range pages(t) {
		t.Run(strings.TrimPrefix(strings.TrimPrefix(page, "../../"), "docs/"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			all, err := steps(string(text))
			if err != nil {
				t.Fatal(err)
			}
			r := reader{t: t, dir: t.TempDir(), known: map[string]string{}, terminals: map[string]*session{}}
			lines, moved := strings.Split(string(text), "\n"), 0
			for _, s := range all {
				got, ok := r.run(s)
				if ok {
					continue
				}
				if os.Getenv("WEFT_UPDATE") == "" {
					t.Fatalf("%s:%d: $ %s\n--- printed\n%s\n--- the page has\n%s\n%s", page, s.from, s.command, strings.Join(got, "\n"), strings.Join(s.want, "\n"), r.logs())
				}
				lines = slices.Replace(lines, s.from+moved, s.to+moved, got...)
				moved += len(got) - len(s.want)
			}
			if moved != 0 || os.Getenv("WEFT_UPDATE") != "" {
				if err := os.WriteFile(page, []byte(strings.Join(lines, "\n")), 0o644); err != nil { //nolint:gosec // a page that everybody reads
					t.Fatal(err)
				}
			}
		})
	}
}

// A reader types what a page says, on the machines that it names.
type reader struct {
	t         *testing.T
	dir       string
	known     map[string]string // what the page's <words> stand for
	terminals map[string]*session
}

// looks is what a command begins with that changes nothing and waits for nothing.
var looks = regexp.MustCompile(`^weft (find|get|count|status|peers|refused|conflicts|relay ls|inbox ls|db (ls|info|status|members|invites)) [^|]*$`)

// failure is how the last line of a command begins that fails.
var failure = regexp.MustCompile(`^weft: |^\{"error":`)

var word = regexp.MustCompile(`<([a-z][a-z0-9]*)>`)

// run types a command, and returns what it printed and whether that is what the page says.
func (r *reader) run(s step) (printed []string, ok bool) {
	r.t.Helper()
	for _, m := range word.FindAllStringSubmatch(s.command, -1) {
		if v, has := r.known[m[1]]; has {
			s.command = strings.ReplaceAll(s.command, m[0], v)
		}
	}
	term := r.terminals[s.terminal]
	if term == nil {
		term = r.open(s.terminal)
		r.terminals[s.terminal] = term
	}
	fits := func(got string) bool { _, ok := r.match(s.want, got); return ok }
	got, status := term.run(s.command, fits)
	names, ok := r.match(s.want, got)
	for end := time.Now().Add(patience); !ok && looks.MatchString(s.command) && os.Getenv("WEFT_UPDATE") == "" && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		got, status = term.run(s.command, fits)
		names, ok = r.match(s.want, got)
	}
	for name, v := range names {
		r.known[name] = v
	}
	refused := len(s.want) > 0 && failure.MatchString(s.want[len(s.want)-1])
	if ok && (status != 0) != refused {
		r.t.Errorf("$ %s: exit status %d, and the page says %q", s.command, status, s.want)
	}
	for name, v := range r.known {
		got = strings.ReplaceAll(got, v, "<"+name+">")
	}
	if got == "" {
		return nil, ok
	}
	return strings.Split(got, "\n"), ok
}

// match compares what was printed with the lines of a page, and returns what the words stand
// for that it met first.
func (r *reader) match(want []string, got string) (map[string]string, bool) {
	var re strings.Builder
	re.WriteString(`^`)
	seen := map[string]bool{}
	for _, line := range want {
		if strings.TrimSpace(line) == "…" {
			re.WriteString(`(?:.*\n)*?`)
			continue
		}
		for len(line) > 0 {
			m := word.FindStringSubmatchIndex(line)
			end := len(line)
			if m != nil {
				end = m[0]
			}
			re.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line[:end]), "…", ".*"))
			line = line[end:]
			if m == nil {
				continue
			}
			name := line[m[2]-end : m[3]-end]
			switch v, has := r.known[name]; {
			case has:
				re.WriteString(regexp.QuoteMeta(v))
			case seen[name]:
				re.WriteString(`\S+`) // compared when it is known
			default:
				seen[name] = true
				re.WriteString(`(?P<` + name + `>[^\s,;"]+)`)
			}
			line = line[m[1]-end:]
		}
		re.WriteString(` *\n`)
	}
	re.WriteString(`$`)
	if got != "" {
		got += "\n"
	}
	x, err := regexp.Compile(re.String())
	if err != nil {
		r.t.Fatal(err)
	}
	m := x.FindStringSubmatch(got)
	if m == nil {
		return nil, false
	}
	names := map[string]string{}
	for i, name := range x.SubexpNames() {
		if name != "" {
			names[name] = m[i]
		}
	}
	return names, true
}

// logs returns what the daemons of the page logged.
func (r *reader) logs() string {
	var out strings.Builder
	for name, term := range r.terminals {
		if b, err := os.ReadFile(filepath.Join(term.home, "..", "log")); err == nil {
			fmt.Fprintf(&out, "--- daemons of %q logged\n%s", name, b)
		}
	}
	return out.String()
}

// A session is one bash.
type session struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	home  string
	n     int
}

// weftHere runs weft as the page says it, but for where daemons listen and log.
const weftHere = `#!/bin/sh
here() {
	case " $* " in
	*" --local "*) p2p= ;;
	*" --p2p "*) p2p= ;;
	*) p2p="--p2p /ip4/127.0.0.1/tcp/$WEFT_PORT" ;;
	esac
	exec "$WEFT_BIN" "$@" --api 127.0.0.1:0 --mdns=false $p2p 2>>"$WEFT_LOG"
}
case "$1" in daemon | dev) case "$*" in *help*) ;; *) here "$@" ;; esac ;; esac
exec "$WEFT_BIN" "$@"
`

func (r *reader) open(name string) *session {
	r.t.Helper()
	machine := filepath.Join(r.dir, "m"+name)
	term := &session{t: r.t, home: filepath.Join(machine, "home"), lines: make(chan string, 1<<16)}
	for _, dir := range []string{"home", "work", "bin", "tmp"} {
		if err := os.MkdirAll(filepath.Join(machine, dir), 0o700); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(machine, "bin", "weft"), []byte(weftHere), 0o700); err != nil { //nolint:gosec // it is run
		r.t.Fatal(err)
	}
	bin, err := exec.LookPath("weft")
	if err != nil {
		r.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // a free port, where the machine's daemon is found again
	if err != nil {
		r.t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		r.t.Fatal(err)
	}
	term.cmd = exec.Command("bash", "--norc", "--noprofile", "-s")
	term.cmd.Dir = filepath.Join(machine, "work")
	term.cmd.Env = []string{
		"HOME=" + term.home, "PATH=" + filepath.Join(machine, "bin") + ":/usr/local/bin:/usr/bin:/bin", "TMPDIR=" + filepath.Join(machine, "tmp"),
		"LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TZ=UTC", "WEFT_BIN=" + bin, "WEFT_LOG=" + filepath.Join(machine, "log"), fmt.Sprint("WEFT_PORT=", port),
	}
	term.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if term.in, err = term.cmd.StdinPipe(); err != nil {
		r.t.Fatal(err)
	}
	out, err := term.cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	term.cmd.Stderr = term.cmd.Stdout
	if err := term.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		defer close(term.lines)
		in := bufio.NewReader(out)
		for {
			line, err := in.ReadString('\n')
			if line != "" {
				term.lines <- strings.TrimSuffix(line, "\n")
			}
			if err != nil {
				return
			}
		}
	}()
	r.t.Cleanup(term.close)
	return term
}

// patience bounds what a page does that does not end.
const patience = time.Minute

// run types a command and returns what it prints. One that runs on is given until what it
// printed fits.
func (term *session) run(command string, fits func(string) bool) (got string, status int) {
	term.t.Helper()
	term.n++
	file := filepath.Join(term.home, "..", fmt.Sprintf("command%d", term.n))
	if err := os.WriteFile(file, []byte(command+"\n"), 0o600); err != nil {
		term.t.Fatal(err)
	}
	end := fmt.Sprintf("=== end of command %d", term.n)
	if _, err := fmt.Fprintf(term.in, ". '%s' </dev/null; printf '\\n%s %%d\\n' $?\n", file, end); err != nil {
		term.t.Fatal(err)
	}
	var lines []string
	ended := false
	late := time.NewTimer(patience)
	defer late.Stop()
	text := func() string { return strings.TrimRight(strings.Join(lines, "\n"), "\n") }
	for {
		if ended && (!strings.HasSuffix(command, "&") || fits(text())) {
			return text(), status
		}
		select {
		case line, more := <-term.lines:
			switch _, err := fmt.Sscanf(line, end+" %d", &status); {
			case !more:
				term.t.Fatalf("$ %s ended the terminal", command)
			case err == nil:
				ended = true
				if n := len(lines); n > 0 && lines[n-1] == "" {
					lines = lines[:n-1] // printf's own
				}
			default:
				lines = append(lines, line)
			}
		case <-late.C:
			if ended { // it runs, and what it printed does not fit
				return text(), status
			}
			term.t.Fatalf("$ %s does not end; it printed\n%s", command, text())
		}
	}
}

// close ends what runs in the terminal, and it.
func (term *session) close() {
	_, _ = io.WriteString(term.in, "kill $(jobs -p) 2>/dev/null; wait; exit\n")
	late := time.AfterFunc(30*time.Second, func() { _ = syscall.Kill(-term.cmd.Process.Pid, syscall.SIGKILL) })
	defer late.Stop()
	for range term.lines { // until the last of its processes is gone
	}
	_ = term.cmd.Wait()
}

// A page is not taken for run that is not, nor output for what a page says that is not.
func TestReader(t *testing.T) {
	for _, page := range []string{
		"```sh\nweft id\n```\n", "```\nweft id\n```\n", "```text\n$ weft id\n```\n", "```text\nweft id\n```\n",
		"    weft id\n", "~~~\nweft id\n~~~\n", "```console\nweft id\n```\n", "```console ben\n$ weft id\n```\n", "Ann:\n```console ann\n$ weft id\n```\n```console ben\n$ weft id\n```\n", "```go\n$ weft id\n```\n",
	} {
		if s, err := steps(page); err == nil {
			t.Errorf("%q is taken as %v", page, s)
		}
	}
	all, err := steps("On Ann's:\n```console ann\n$ weft insert a b '{\n> }'\n1\n2\n$ weft id\n```\n")
	if err != nil || len(all) != 2 || all[0].command != "weft insert a b '{\n}'" || !slices.Equal(all[0].want, []string{"1", "2"}) || all[1].terminal != "ann" {
		t.Errorf("got %+v, %v", all, err)
	}
	r := reader{t: t, known: map[string]string{"key": "wk1"}}
	for _, c := range []struct {
		want, got string
		fits      bool
	}{
		{"", "", true},
		{"", "x", false},
		{"x", "", false},
		{"a.c", "abc", false},
		{"a\nb", "a\nb", true},
		{"a\nb", "a", false},
		{"a", "a\nb", false},
		{"a", "ab", false},
		{"a …", "a b c", true},
		{"a … c", "a b\nc", false},
		{"a\n…\nd", "a\nb\nc\nd", true},
		{"a\n…\nd", "a\nd", true},
		{"a\n…\nd", "a\nb", false},
		{"key <key>", "key wk1", true},
		{"key <key>", "key wk2", false},
		{"id <id>", "id 7", true},
		{"id <id>", "id 7 8", false},
		{"<id>", "", false},
	} {
		lines := strings.Split(c.want, "\n")
		if c.want == "" {
			lines = nil
		}
		if names, fits := r.match(lines, c.got); fits != c.fits || fits && strings.Contains(c.want, "<id>") && names["id"] != "7" {
			t.Errorf("%q for %q: %v, %v", c.got, c.want, fits, names)
		}
	}
	for command, fine := range map[string]bool{
		"db status atlas --wait identical": true, "help db": true, "completion bash": true, "--version": true,
		"fnd a b": false, "db sttus atlas": false, "db status --wiat x": false, "find atlas cities --explian": false,
	} {
		if err := isCommand(strings.Fields(command)); (err == nil) != fine {
			t.Errorf("weft %s: %v", command, err)
		}
	}
}

// inline is a command in the text of a page.
var inline = regexp.MustCompile("`((?:weft|make) [^`]+)`")

// Commands in the text of a page are not run, but there are such commands with such flags.
func TestCommandsInText(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		plain := fenced.ReplaceAllString(string(text), "")
		plain = strings.ReplaceAll(plain, "\n", " ")
		for _, m := range inline.FindAllStringSubmatch(plain, -1) {
			found++
			words := strings.Fields(m[1])
			if words[0] == "make" {
				if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(words[1]) + `:`).Match(makefile) {
					t.Errorf("%s: `%s`: there is no such target", page, m[1])
				}
				continue
			}
			if err := isCommand(words[1:]); err != nil {
				t.Errorf("%s: `%s`: %v", page, m[1], err)
			}
		}
	}
	if found < 20 {
		t.Errorf("found %d commands: this test looks in the wrong places", found)
	}
}

func isCommand(words []string) error {
	root := (&app{}).root()
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	cmd, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	var flags []string
	for _, w := range rest {
		if strings.HasPrefix(w, "--") {
			name, _, _ := strings.Cut(strings.TrimLeft(w, "-"), "=")
			flags = append(flags, name)
		}
	}
	for _, name := range flags {
		if cmd.Flag(name) == nil && name != "help" && name != "version" {
			return fmt.Errorf("%s has no flag --%s", cmd.CommandPath(), name)
		}
	}
	if cmd.HasSubCommands() && len(rest) > len(flags) {
		return fmt.Errorf("%s has no command %s", cmd.CommandPath(), rest[0])
	}
	return nil
}
