package main

import (
	"encoding/json"
	"errors"
	"fmt"
	stdnet "net"
	"regexp"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/pflag"

	"github.com/weftdb/weft/node"
)

// errUsage is a call that the command line does not understand.
type errUsage struct{ message string }

func (e errUsage) Error() string { return e.message }

func usagef(format string, args ...any) error { return errUsage{fmt.Sprintf(format, args...)} }

// flagError says in one sentence what is wrong with a flag.
func flagError(err error) error {
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return usagef("--%s %s is no %s", bad.GetFlag().Name, bad.GetValue(), bad.GetFlag().Value.Type())
	}
	return errUsage{err.Error()}
}

// report tells people, or programs with --json, what went wrong, and returns
// the exit status.
func (a *app) report(err error, args []string) int {
	var usage errUsage
	var part errImport
	word, message, status := "usage", err.Error(), 2
	if errors.As(err, &part) {
		word, message, status = part.word, part.message, 1
	} else if !errors.As(err, &usage) {
		word, message = a.explain(err)
		status = 1
	}
	message = plain(message)
	if a.json || slices.Contains(args, "--json") {
		_ = json.NewEncoder(a.err).Encode(map[string]any{"error": map[string]string{"code": word, "message": message}})
	} else {
		fmt.Fprintf(a.err, "weft: %s\n", message)
	}
	return status
}

// explain returns the stable word of an error and a sentence about it; those
// that say nothing of what to do get one that does.
func (a *app) explain(err error) (word, message string) {
	word, message = node.ErrorWord(err)
	var failed *connect.Error
	fromNode := errors.As(err, &failed) && len(failed.Details()) > 0
	if _, dial := errors.AsType[*stdnet.OpError](err); dial && !fromNode {
		where := "of " + a.home
		if a.api != "" {
			where = "at " + a.api
		}
		return "unavailable", fmt.Sprintf("no daemon answers %s: start it with weft daemon, or leave --api out: %v", where, message)
	}
	switch {
	case failed != nil && !fromNode && (word == "unavailable" || word == "internal" || word == "unknown" || word == "invalid_argument"):
		return "closed", "the daemon ended during this command: what was acknowledged before is kept; start it and try again"
	case word == "closed":
		return word, "the node ended during this command: what was acknowledged before is kept; start it and try again"
	case word == "home_in_use":
		return word, a.inUse()
	}
	return word, message
}

// inUse says which process has the home.
func (a *app) inUse() string {
	d, err := node.ReadDaemon(a.home)
	if err != nil {
		return fmt.Sprintf("another process has %s open: let it end, or give this one a --home of its own", a.home)
	}
	return fmt.Sprintf("a daemon has %s open (process %d, API at %s): end it first, or give this one a --home of its own", a.home, d.PID, d.API)
}

// Errors name the package and the kind they are of, which programs match and
// people need not read; --json has the kind as a word.
var (
	packageNames = regexp.MustCompile(`(^|[: (])(?:(?:node|db|net|keys|buckets|inbox|store|clock|transfer|threaddb): )+`)
	kindNames    = regexp.MustCompile(`(^|: )(?:(?:invalid|malformed|not found|already exists|invalid name|bad schema|unreachable|address is in use|bad format|cut short|defined otherwise): )+`)
	codeNames    = regexp.MustCompile(`(?: \((?:[A-Z][A-Za-z0-9]+|[a-z]+(?:_[a-z]+)+)\))+(:|$)`)
)

// plain makes an error's message a sentence for people, on one line.
func plain(message string) string {
	message = strings.Join(strings.Fields(message), " ")
	message = packageNames.ReplaceAllString(message, "$1")
	message = kindNames.ReplaceAllString(message, "$1")
	return codeNames.ReplaceAllString(message, "$1")
}
