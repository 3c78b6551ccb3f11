package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/weftdb/weft/cmd/weft/internal/help"
	"github.com/weftdb/weft/cmd/weft/internal/mongosh"
	"github.com/weftdb/weft/cmd/weft/internal/tty"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node/client"
)

// fileHistory is the file of the home that keeps what was typed in shells.
const fileHistory = "shell.history"

// ofDatabase are the commands whose first argument is a database, which a shell knows.
var ofDatabase = []string{
	"find", "get", "insert", "update", "replace", "delete", "count", "aggregate", "distinct", "conflicts", "refused",
	"run", "export", "import", "watch",
}

// notInShell are the commands that need a home, or the terminal, for themselves.
var notInShell = []string{"shell", "daemon", "dev", "init", "restore", "doctor", "home"}

func (a *app) shellCommand() *cobra.Command {
	cmd := a.newCommand("shell DB", "Type commands on a database, with history, completion and tables", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			if a.shared != nil {
				return usagef("this is a shell already: use DB goes on with another database")
			}
			s := &shell{app: a, c: c, people: terminal(a.in) && terminal(a.out)}
			if err := s.use(ctx, args[0]); err != nil {
				return err
			}
			s.tables = terminal(a.out)
			return s.run(ctx)
		})
	cmd.Long = cmd.Short + `.

A line is a command without weft and without the name of the database, and documents need no quotes around them:

  find cities {country: 'LI'} --sort -population
  insert cities {name: 'Vaduz'}
  collections, indexes cities, status, info, members
  {distinct: 'cities', key: 'country'}
  use other · tables · json · help · exit

The common forms of MongoDB's shell are understood, too, such as db.cities.find({country: 'LI'}).sort({name: 1}),
db.cities.insertOne({…}), db.cities.updateMany({…}, {…}), show collections; they are no JavaScript.

A document or list that is not closed goes on in the next line. Tab completes commands and names of collections. What was typed is
kept in the home, but for lines that begin with a space. Input that is no terminal is read line by line, and ends at the
first command that fails.`
	return cmd
}

// A shell runs commands on one database with one client.
type shell struct {
	*app
	c      *client.Client
	db     string
	people bool // type and read
}

// use goes on with a database that is there.
func (s *shell) use(ctx context.Context, name string) error {
	if _, err := s.c.Documents.ListCollections(ctx, connect.NewRequest(&weftv1.ListCollectionsRequest{Database: name})); err != nil {
		if s.db != "" && fault.Is(err, fault.NotFound) {
			err = fault.Of(err, "%w: db create %s makes one", err, name)
		}
		return err
	}
	s.db = name
	return nil
}

// run reads and runs commands until the input ends, or exit.
func (s *shell) run(ctx context.Context) error {
	next, dropped, end, err := s.reader(ctx)
	if err != nil {
		return err
	}
	defer end()
	open := ""
	for {
		text, err := next(open != "")
		if dropped() && err == nil {
			open = ""
			continue
		}
		if errors.Is(err, io.EOF) {
			if open != "" && !s.people {
				return usagef("the input ends within a command: %.80q", open)
			}
			return nil
		}
		if err != nil {
			return err
		}
		line, whole, err := mongosh.Words(open + text)
		if whole && err == nil && line == nil {
			line, whole, err = tty.Words(strings.TrimRight(open+text, "; \t"))
		}
		if !whole {
			open += text + "\n"
			continue
		}
		open = ""
		if err == nil && len(line) == 0 {
			continue
		}
		status := 0
		if err != nil {
			status = s.report(err, nil)
		} else if line[0] == "exit" || line[0] == "quit" {
			return nil
		} else {
			status = s.command(ctx, line)
		}
		if ctx.Err() != nil && !s.people {
			return ctx.Err()
		}
		if status != 0 && !s.people {
			return errTold
		}
	}
}

// errTold ends a shell whose command failed and said why.
var errTold = errors.New("told")

// command runs one command and returns its exit status. An interrupt ends it and not the
// shell, if people type.
func (s *shell) command(ctx context.Context, words []string) int {
	if s.people {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt)
		defer stop()
	}
	switch words[0] {
	case "use":
		err := usagef("usage: use DB")
		if len(words) == 2 {
			err = s.use(ctx, words[1])
		}
		if err != nil {
			return s.report(err, nil)
		}
		return 0
	case "db":
		if len(words) == 1 {
			fmt.Fprintln(s.out, tty.Printable(s.db))
			return 0
		}
	case "tables", "json":
		s.tables = words[0] == "tables"
		return 0
	case "help":
		fmt.Fprintf(s.out, "commands on %s:\n", tty.Printable(s.db))
		for some := range slices.Chunk(s.words(), 8) {
			fmt.Fprintf(s.out, "  %s\n", strings.Join(some, ", "))
		}
		fmt.Fprintln(s.out, "COMMAND --help explains one, exit ends the shell")
		return 0
	}
	// A command line of its own: its flags begin anew.
	one := &app{home: s.home, api: s.api, insecure: s.insecure, secretFile: s.secretFile, in: s.in, input: s.input, out: s.out, err: s.err, shared: s.c, tables: s.tables}
	if s.people {
		one.in = strings.NewReader("") // what is typed next is a command
		one.input = one.in
	}
	args, err := s.arguments(words)
	if err != nil {
		return s.report(err, nil)
	}
	return one.execute(ctx, args)
}

// arguments returns the command line of weft that a line of the shell stands for.
func (s *shell) arguments(words []string) ([]string, error) {
	name, rest := words[0], words[1:]
	if name == "weft" && len(rest) > 0 {
		name, rest = rest[0], rest[1:]
	}
	with := func(command ...string) ([]string, error) { return append(append(command, s.db), rest...), nil }
	switch {
	case strings.HasPrefix(name, "{"):
		return []string{"run", s.db, name}, nil
	case slices.Contains(notInShell, name):
		return nil, usagef("%s does not go with a shell: run it by itself", name)
	case slices.Contains(ofDatabase, name):
		return with(name)
	case name == "collections":
		return with("collection", "ls")
	case name == "indexes":
		return with("index", "ls")
	case name == "status", name == "info", name == "members":
		return with("db", name)
	case (name == "collection" || name == "index") && len(rest) > 0:
		command := rest[0]
		rest = rest[1:]
		return with(name, command)
	}
	if all := s.root(); !slices.ContainsFunc(all.Commands(), func(c *cobra.Command) bool { return c.Name() == name }) {
		return nil, usagef("%q is no command of the shell%s", name, cmp.Or(help.Meant(help.CommandsLike(all, name)), ": help lists what can be typed"))
	}
	return append([]string{name}, rest...), nil
}

// words returns the first words of commands.
func (s *shell) words() []string {
	out := append([]string{"collections", "indexes", "collection", "index", "status", "info", "members", "use", "tables", "json", "help", "exit"}, ofDatabase...)
	slices.Sort(out)
	return out
}

// complete returns what completes the last word of what was typed.
func (s *shell) complete(line string) (begun string, out []string) {
	i := strings.LastIndexAny(line, " \t") + 1
	begun = line[i:]
	before := strings.Fields(line[:i])
	switch {
	case len(before) == 0 && strings.HasPrefix(begun, "db."):
		at := strings.LastIndexByte(begun, '.') + 1
		all, end := mongosh.Methods, "("
		if at == len("db.") {
			one := app{shared: s.c}
			all, end = one.names(context.Background(), "COLLECTION", []string{s.db}, begun[at:]), "."
		}
		for _, w := range all {
			if strings.HasPrefix(w, begun[at:]) {
				out = append(out, begun[:at]+w+end)
			}
		}
	case len(before) == 0:
		for _, w := range s.words() {
			if strings.HasPrefix(w, begun) {
				out = append(out, w)
			}
		}
		return begun, out
	case before[0] == "use" && len(before) == 1:
		out = s.names(context.Background(), "DB", nil, begun)
	case len(before) == 1 && (before[0] == "indexes" || slices.Contains(ofDatabase, before[0])), len(before) == 2 && (before[0] == "index" || before[0] == "collection"):
		one := app{shared: s.c}
		out = one.names(context.Background(), "COLLECTION", []string{s.db}, begun)
	}
	return begun, out
}

// reader returns what reads a line: with a prompt and an editor for people. dropped tells that
// the line, with those before it that it goes on, was interrupted. end gives back the terminal.
func (s *shell) reader(ctx context.Context) (next func(more bool) (string, error), dropped func() bool, end func(), err error) {
	if !s.people {
		in := bufio.NewScanner(s.input)
		in.Buffer(make([]byte, 64<<10), maxDocument)
		return func(bool) (string, error) {
			if in.Scan() {
				return in.Text(), nil
			}
			if in.Err() != nil {
				return "", in.Err()
			}
			return "", io.EOF
		}, func() bool { return false }, func() {}, nil
	}
	f, _ := s.in.(*os.File) // people type: it is a terminal
	keys := tty.NewInterrupts(f)
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{keys, tty.Raw(s.out)}, "")
	h := tty.OpenHistory(filepath.Join(s.home, fileHistory))
	t.History = h
	t.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) { return s.tab(t, line, pos, key) }
	fmt.Fprintln(s.out, "help lists what can be typed, exit ends the shell")
	ctx, stop := signal.NotifyContext(context.WithoutCancel(ctx), syscall.SIGTERM, syscall.SIGHUP)
	return func(more bool) (string, error) {
		t.SetPrompt(tty.Printable(s.db) + "> ")
		if more {
			t.SetPrompt("... ")
		}
		if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 0 {
			_ = t.SetSize(width, height) // it draws what was there again
		}
		before, err := term.MakeRaw(int(f.Fd()))
		if err != nil {
			return "", err
		}
		type answer struct {
			text string
			err  error
		}
		got := make(chan answer, 1)
		go func() { // a read of a terminal cannot be cut short; if ctx ends, so does the process
			text, err := t.ReadLine()
			if errors.Is(err, term.ErrPasteIndicator) {
				err = nil
			}
			got <- answer{text, err}
		}()
		select {
		case <-ctx.Done():
			return "", errors.Join(io.EOF, term.Restore(int(f.Fd()), before))
		case g := <-got:
			if err := term.Restore(int(f.Fd()), before); err != nil {
				return "", err
			}
			return g.text, g.err
		}
	}, keys.Hit, func() { stop(); h.Close() }, nil
}

// tab completes the word before pos, as far as all that it can be agree, and lists those.
func (s *shell) tab(t io.Writer, line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	begun, all := s.complete(line[:pos])
	if len(all) == 0 {
		return line, pos, true
	}
	same := all[0]
	for _, w := range all[1:] {
		for !strings.HasPrefix(w, same) {
			same = same[:len(same)-1]
		}
	}
	add := same[len(begun):]
	if len(all) == 1 && !strings.HasPrefix(begun, "db.") {
		add += " "
	} else if add == "" {
		fmt.Fprintln(t, strings.Join(all, "  "))
	}
	return line[:pos] + add + line[pos:], pos + len(add), true
}
