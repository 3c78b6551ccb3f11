package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weftdb/weft/cmd/weft/internal/help"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/client"
)

// exitStatus is the one table from kinds of errors to exit statuses: 2 for a
// command line that is not understood, 1 for everything else.
func exitStatus(kind fault.Kind) int {
	switch kind {
	case "":
		return 0
	case fault.Usage:
		return 2
	}
	return 1
}

// statusBrokenPipe is the exit status, as shells give it, of a command whose
// reader went away, such as head: it has nothing more to say.
const statusBrokenPipe = 128 + 13

// usagef returns the error of a command line that is not understood.
func usagef(format string, args ...any) error { return fault.Errorf(fault.Usage, format, args...) }

// flagError says in one sentence what is wrong with a flag.
func flagError(cmd *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		return usagef("%v%s", err, help.Meant(help.FlagsLike(cmd, unknown.GetSpecifiedName())))
	}
	bad, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return usagef("%v", err)
	}
	flag := bad.GetFlag()
	want := map[string]string{
		"int": "an integer", "int32": "an integer", "int64": "an integer",
		"uint32": "a number from 0", "bool": "true or false", "duration": "a duration such as 90s or 24h",
	}[flag.Value.Type()]
	if want == "" {
		want = "a " + flag.Value.Type()
	}
	return usagef("invalid --%s %q: want %s", flag.Name, bad.GetValue(), want)
}

// report tells people, or programs with --json, what went wrong, and returns
// the exit status.
func (a *app) report(err error, args []string) int {
	a.endProgress()
	if errors.Is(err, errBrokenPipe) {
		return statusBrokenPipe
	}
	if errors.Is(err, errTold) {
		return 1
	}
	kind := fault.KindOf(err)
	message := oneLine(a.sentence(kind, err))
	if a.json || slices.Contains(args, "--json") {
		_ = json.NewEncoder(a.err).Encode(map[string]any{"error": map[string]string{"code": string(kind), "message": message}})
	} else {
		fmt.Fprintf(a.err, "weft: %s\n", message)
	}
	return exitStatus(kind)
}

// oneLine returns a message on one line: that of another process may have more, and one that
// a name of somebody else is in could else pass for two.
func oneLine(message string) string {
	return strings.NewReplacer("\r\n", "; ", "\n", "; ", "\r", "; ", "\t", " ").Replace(message)
}

// errInterrupted is an interruption after which something is left to do.
var errInterrupted = fault.New(fault.Canceled, "interrupted")

// errAlone reports a command that would wait for what nobody else can do meanwhile.
var errAlone = fault.New(fault.Unavailable, "no daemon runs, so nothing can change while this command holds the home: start weft daemon, then watch")

// sentence returns what went wrong. Only this end knows what people can do about
// a node that does not answer.
func (a *app) sentence(kind fault.Kind, err error) string {
	switch kind {
	case fault.Unavailable:
		if errors.Is(err, errAlone) || errors.Is(err, client.ErrNoDaemon) {
			return err.Error()
		}
		where := "for home " + a.home
		if a.api != "" {
			where = "at " + a.api
		}
		return fault.Errorf(fault.Unavailable, "no daemon answers %s: start it with weft daemon, or omit --api and WEFT_API", where).Error()
	case fault.Closed:
		return fault.Errorf(fault.Closed, "the node ended during this command: what was acknowledged before is kept; start it and try again").Error()
	case fault.HomeInUse:
		return a.inUse()
	case fault.Canceled:
		if !errors.Is(err, errInterrupted) {
			return errInterrupted.Error()
		}
	}
	return files(err)
}

// files returns an error's text with the files that it is about as people name them: without
// the system call that failed, and each once.
func files(err error) string {
	text := err.Error()
	path, told := "", ""
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		path, told = failed.Path, failed.Error()
		err = failed.Err
	} else if failed, ok := errors.AsType[*os.LinkError](err); ok {
		path, told = failed.New, failed.Error()
		err = failed.Err
	}
	before, after, ok := strings.Cut(text, told)
	if !ok || path == "" {
		return text
	}
	named := path + ": "
	if strings.HasSuffix(before, named) {
		named = ""
	}
	return before + named + err.Error() + after
}

// inUse says which process has the home.
func (a *app) inUse() string {
	d, err := node.ReadDaemon(a.home)
	if err != nil {
		return fault.Errorf(fault.HomeInUse, "another process has home %s open: wait until it ends, or choose another --home", a.home).Error()
	}
	return fault.Errorf(fault.HomeInUse, "a daemon has home %s open (process %d, API at %s): stop it first, or choose another --home", a.home, d.PID, d.API).Error()
}
