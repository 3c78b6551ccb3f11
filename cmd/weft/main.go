// Command weft is a Weft node's daemon, relay and command line.
//
//	main.go        the root command and its flags
//	errors.go      what went wrong, in one sentence; exit status
//	output.go      one value or lines of JSON, or text for people
//	passphrase.go  what opens sealed key files
//	*.go           a file for each parent command
//
// It holds no engine: every command is a call of the node's API, to the running
// daemon or to a node in this process.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/client"
)

func main() { os.Exit(realMain()) }

// realMain ends cleanly on an interrupt, a TERM and a hangup; nohup has the last
// ignored, and so it stays. QUIT prints what every goroutine does and ends at
// once. A reader of standard output that goes away is an error of writing, not
// the end of a process that has a home open.
func realMain() int {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	signal.Ignore(brokenPipe)
	return run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// An app is one run of the command line.
type app struct {
	home, api  string
	json       bool
	engine     string // of a home that weft init makes; "" is the default
	sealedWith string // the passphrase of the backup that is written
	passphrase []byte // of sealed key files; nil until it is known

	in       io.Reader
	out, err io.Writer
}

// run runs one command line and returns its exit status: 0, 1 if it failed, 2
// if it was not understood.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{in: in, out: out, err: errOut}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	if err := root.ExecuteContext(ctx); err != nil {
		return a.report(err, args)
	}
	return 0
}

func (a *app) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "weft",
		Short:         "A peer-to-peer embeddable database",
		Version:       node.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          parent,
		Args:          cobra.ArbitraryArgs,
	}
	cmd.CompletionOptions.HiddenDefaultCmd = true
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	f := cmd.PersistentFlags()
	f.StringVar(&a.home, "home", "", "data folder (WEFT_HOME, default ~/.weft)")
	f.StringVar(&a.api, "api", "", "address of the daemon's API, host:port (WEFT_API)")
	f.BoolVar(&a.json, "json", false, "print JSON")
	cmd.PersistentPreRunE = func(*cobra.Command, []string) error { return a.defaults() }
	cmd.AddCommand(
		a.initCommand(), a.daemonCommand(), a.devCommand(), a.idCommand(), a.statusCommand(), a.peersCommand(), a.versionCommand(),
		a.keyCommand(), a.relayCommand(), a.dbCommand(), a.collectionCommand(), a.indexCommand(),
		a.insertCommand(), a.importCommand(), a.exportCommand(), a.findCommand(), a.getCommand(), a.runCommand(),
		a.aggregateCommand(), a.distinctCommand(), a.conflictsCommand(),
		a.updateCommand(), a.replaceCommand(), a.deleteCommand(), a.countCommand(), a.watchCommand(), a.refusedCommand(),
		a.bucketCommand(), a.dagCommand(), a.inboxCommand(), a.backupCommand(), a.restoreCommand(), a.doctorCommand(), a.homeCommand(),
	)
	return cmd
}

// defaults takes what no flag says from the environment.
func (a *app) defaults() (err error) {
	if a.api == "" {
		a.api = os.Getenv("WEFT_API")
	}
	if a.home == "" {
		a.home, err = node.DefaultHome()
	}
	if p := os.Getenv("WEFT_PASSPHRASE"); p != "" {
		a.passphrase = []byte(p)
	}
	return err
}

// parent is the action of a command that only has commands of its own.
func parent(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unknown command %q of %s", args[0], cmd.CommandPath())
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return usagef("missing command of %s: want one of %s", cmd.CommandPath(), strings.Join(names, ", "))
}

// newParent returns a command that only has commands of its own.
func newParent(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, RunE: parent, Args: cobra.ArbitraryArgs}
	cmd.AddCommand(commands...)
	return cmd
}

// args wants between least and most arguments; most -1 means any number.
func args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if n := len(given); n < least || most >= 0 && n > most {
			return usagef("usage: %s", cmd.UseLine())
		}
		return nil
	}
}

// An action is what a command does with a node.
type action func(ctx context.Context, c *client.Client, args []string) error

// open finds the node, asking for the passphrase if it needs one.
func (a *app) open(ctx context.Context) (c *client.Client, err error) {
	err = a.unseal(ctx, func() error {
		c, err = client.Open(ctx, client.Options{Home: a.home, API: a.api, Passphrase: a.passphrase, Engine: a.engine})
		return err
	})
	return c, err
}

// existing refuses a home that is not there, for what makes sense only of one that is.
func (a *app) existing() error {
	if a.api != "" {
		return nil
	}
	if files, err := os.ReadDir(a.home); err == nil && len(files) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil // whatever is wrong is told as it is opened
	}
	return fault.Errorf(fault.NotFound, "there is no home in %s: weft init makes one", a.home)
}

// newCommand returns a command that calls a node.
func (a *app) newCommand(use, short string, least, most int, do action) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: args(least, most),
		RunE: func(cmd *cobra.Command, given []string) error {
			ctx := cmd.Context()
			for _, arg := range given {
				if _, err := os.Lstat(arg); err != nil && !utf8.ValidString(arg) { // a file may have such a name
					return usagef("the argument %q is not UTF-8", arg)
				}
			}
			c, err := a.open(ctx)
			if err != nil {
				return err
			}
			if c.Created() && cmd.Name() != "init" {
				fmt.Fprintf(a.err, "weft: note: there was no home in %s: made one\n", a.home)
			}
			return errors.Join(do(ctx, c, given), c.Close())
		},
	}
}
