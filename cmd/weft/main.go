// Command weft is a Weft node's daemon, relay and command line.
//
//	main.go        the root command and its flags
//	internal/help  groups of commands, an example for each, what was meant
//	complete.go    names for the shell's completion
//	home.go        whether there is a home
//	errors.go      what went wrong, in one sentence; exit status
//	output.go      one value or lines of JSON, or text for people
//	internal/tty   what people see and type
//	log.go         what a daemon says while it runs
//	passphrase.go  what opens sealed key files
//	*.go           a file for each parent command
//
// It holds no engine: every command is a call of the node's API, to the running
// daemon or to a node in this process.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/weftdb/weft/cmd/weft/internal/help"
	"github.com/weftdb/weft/cmd/weft/internal/remote"
	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/client"
)

func main() { os.Exit(realMain()) }

// realMain ends cleanly on an interrupt, a TERM and a hangup; nohup has the last
// ignored, and so it stays. QUIT prints what every goroutine does and ends at
// once. A reader of standard output that goes away is an error of writing, not
// the end of a process that has a home open; one that stays and reads nothing holds a
// command for some seconds after a signal.
func realMain() int {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	signal.Ignore(brokenPipe)
	// A daemon takes its time, and a shell outlives an interrupt.
	if !slices.ContainsFunc(os.Args, func(arg string) bool { return arg == "daemon" || arg == "dev" || arg == "shell" }) {
		context.AfterFunc(ctx, func() { tty.EndLate(os.Stderr, os.Exit) })
	}
	return run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// An app is one run of the command line.
type app struct {
	home, api  string
	json       bool
	insecure   bool   // the API's token may go to another machine in the clear
	secretFile string // with the secret of the account key that a hub at api is called by; "" is none
	engine     string // of a home that weft init makes; "" is the default
	sealedWith string // the passphrase of the backup that is written
	passphrase []byte // of sealed key files; nil until it is known

	in       io.Reader
	input    io.Reader // in, to be read: reads end when the command line is to
	out, err io.Writer // screens

	shared *client.Client           // of a shell, which its commands do not close
	tables bool                     // documents are shown in tables
	bar    *progressbar.ProgressBar // what people see of a long command; nil for none
}

// run runs one command line and returns its exit status: 0, 1 if it failed, 2
// if it was not understood.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	screens := []*tty.Screen{{W: out}, {W: errOut}}
	a := &app{in: in, input: tty.Input(ctx, in), out: screens[0], err: screens[1]}
	status := a.execute(ctx, args)
	for _, s := range screens {
		s.End()
	}
	return status
}

// execute runs one command line and returns its exit status.
func (a *app) execute(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	if err := root.ExecuteContext(ctx); err != nil {
		return a.report(err, args)
	}
	return 0
}

func (a *app) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "weft",
		Short:         "A peer-to-peer embeddable database",
		Version:       build().String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          parent,
		Args:          cobra.ArbitraryArgs,
	}
	cmd.SetFlagErrorFunc(flagError)
	cmd.SetVersionTemplate("weft {{.Version}}\n")
	f := cmd.PersistentFlags()
	f.StringVar(&a.home, "home", "", "data folder (WEFT_HOME, default ~/.weft)")
	f.StringVar(&a.api, "api", "", "address of the daemon's API, host:port or https://host:port (WEFT_API)")
	f.BoolVar(&a.insecure, "api-insecure", false, "let the API's token cross the network unencrypted, if --api is not on this machine")
	f.StringVar(&a.secretFile, "api-secret-file", "", "file with an account key's secret, to call the hub at --api by it (WEFT_API_SECRET has the secret itself)")
	f.BoolVar(&a.json, "json", false, "print JSON")
	cmd.PersistentPreRunE = func(*cobra.Command, []string) error { return a.defaults() }
	cmd.AddCommand(
		a.initCommand(), a.daemonCommand(), a.devCommand(), a.idCommand(), a.statusCommand(), a.peersCommand(), a.versionCommand(),
		a.keyCommand(), a.relayCommand(), a.deviceCommand(), a.dbCommand(), a.collectionCommand(), a.indexCommand(),
		a.insertCommand(), a.importCommand(), a.exportCommand(), a.findCommand(), a.getCommand(), a.runCommand(),
		a.aggregateCommand(), a.distinctCommand(), a.conflictsCommand(),
		a.updateCommand(), a.replaceCommand(), a.deleteCommand(), a.countCommand(), a.watchCommand(), a.refusedCommand(),
		a.bucketCommand(), a.dagCommand(), a.inboxCommand(), a.backupCommand(), a.restoreCommand(), a.doctorCommand(), a.homeCommand(),
		a.shellCommand(),
	)
	help.Describe(cmd)
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
		return usagef("unknown command %q of %s%s", args[0], cmd.CommandPath(), help.Meant(help.CommandsLike(cmd, args[0])))
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
	if err := a.safe(); err != nil {
		return nil, err
	}
	if secret, err := remote.Secret(a.api, a.secretFile); err != nil || secret != nil {
		if err == nil {
			c, err = client.OpenRemote(client.RemoteOptions{URL: remote.URL(a.api), Secret: secret})
		}
		return c, err
	}
	err = a.unseal(ctx, func() error {
		c, err = client.Open(ctx, client.Options{Home: a.home, API: a.api, Passphrase: a.passphrase, Engine: a.engine})
		return err
	})
	return c, err
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
			if a.shared != nil {
				return do(ctx, a.shared, given)
			}
			check := a.existing
			if use == "init" {
				check = a.room
			}
			if err := check(); err != nil {
				return err
			}
			c, err := a.open(ctx)
			if err != nil {
				return err
			}
			return errors.Join(do(ctx, c, given), c.Close())
		},
		ValidArgsFunction: a.complete(use),
	}
}
